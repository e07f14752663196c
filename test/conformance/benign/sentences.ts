/**
 * Texts as people write them: our own sentences, none of them an attack. What the CRS itself takes
 * for one at level 1, by ModSecurity's word as well as ours, is not among them: "time does …" after
 * a question mark (932230, 932235, 932250), "union … select" over sentences (942270), a table cell
 * named "task" (932235), GraphQL variables named as MongoDB operators, $first or $count (942290).
 */

/** Plain prose, with the words and marks that careless patterns trip over. */
export const prose: readonly string[] = [
  'The order arrived on Tuesday, but one of the two lamps was broken.',
  'Could you please select a different delivery date from the list?',
  'We met at the town hall and voted on the new opening hours.',
  'My updated address is 14 Mill Lane, flat 3; the bell does not work.',
  "It's a pity that the museum closes at five o'clock on Sundays.",
  'Drop me a line when the table for six is free again.',
  'She said: "Let us have dinner there, and then decide."',
  'The script of the school play is nearly finished (only act 2 is missing).',
  'Or we could go by train and rent bicycles where the river begins.',
  'Please insert the key, turn it twice and wait for the green light.',
  'Total: 3 x 4.50 = 13.50, and 10% off for members & their guests.',
  'Where is the manual? I looked in the drawer and behind the radio.',
  'If nobody objects, we will delete the old minutes after the meeting.',
  'The cat sat on the windowsill and watched the ping-pong game.',
  'He asked whether the echo in the cave could be heard from the road.',
  'Our group likes long walks, short speeches and good coffee.',
  'From 9 to 5 the office is open; between 12 and 1 nobody answers.',
  'I like the old version better than the new one, to be honest.',
  'A cup of tea costs less than a glass of juice, or so they say.',
  'Having read all your replies, I think that we agree on most points.',
  'The exam has two parts: reading and listening. Both take an hour.',
  'Is there a discount for students -- or at least for teachers?',
  'Our dog, Finder, found the keys under the net behind the shed.',
  'Note: the lift is out of order; use the stairs at the back.',
  'Create a quiet corner with plants, a lamp and a comfortable chair.',
  'They alter trousers while you wait and repair zips within a day.',
  'The price is $25.99 (about 24 €) including shipping.',
  'When does the last bus to the airport leave on weekdays?',
  'Thanks a lot!!! The children loved the puzzle and the kite :-)',
  'First mix the flour with the sugar, then add eggs and a pinch of salt.',
]

/** The same kind of text in other languages and scripts. */
export const languages: readonly string[] = [
  'Der Zug nach Köln fährt heute von Gleis 7 ab, fünf Minuten später als üblich.',
  'Größe und Farbe können Sie im nächsten Schritt auswählen.',
  "L'été dernier, nous avons loué une petite maison près de la forêt.",
  "Où se trouve l'arrêt de bus le plus proche, s'il vous plaît ?",
  '¿Podrían enviarme el catálogo del año que viene? ¡Muchas gracias!',
  'El niño pequeño dibujó un árbol con hojas de todos los colores.',
  'A reunião de amanhã começa às nove e termina ao meio-dia.',
  'Perché non andiamo al mercato e poi a prendere un caffè?',
  'Zażółć gęślą jaźń to zdanie, które zna każde dziecko w Polsce.',
  'Příští týden budeme péct koláče podle babiččina receptu.',
  'Åsa och Örjan åker tåg till Malmö för att hälsa på farmor.',
  'Yarın sabah erkenden yola çıkıp öğleden önce köye varacağız.',
  'Поезд прибывает на второй путь, осторожно, двери закрываются.',
  'Ми щойно повернулися з відпустки, усе було чудово.',
  'Η βιβλιοθήκη ανοίγει στις δέκα και κλείνει αργά το βράδυ.',
  'الحديقة جميلة في الصباح الباكر عندما تغني الطيور.',
  'הספר החדש נמצא על המדף העליון ליד החלון.',
  'कल शाम को हम सब मिलकर बगीचे में चाय पियेंगे।',
  '明天早上八点我们在车站门口见面,请不要迟到。',
  'この店の抹茶アイスはとてもおいしいです。',
  '내일은 비가 온다고 하니 우산을 꼭 챙기세요.',
  'Chúng tôi sẽ gửi hàng cho bạn trong vòng ba ngày làm việc.',
  'ร้านนี้เปิดทุกวันตั้งแต่แปดโมงเช้าถึงหกโมงเย็น',
  'Kesällä mökillä on hiljaista, vain linnut laulavat aamuisin.',
]

/** Short words for searches, names and tags. */
export const words: readonly string[] = [
  'garden chair',
  'blue kettle',
  'running shoes',
  'train ticket',
  'rye bread',
  'winter coat',
  'history of maps',
  'piano lessons',
  'café crème',
  'Überraschung',
  'jalapeño',
  'smörgåsbord',
  'desk lamp',
  'oak table',
  "children's books",
  'rock & roll',
  'AC adapter 12V',
  'size 42/43',
  '50% cotton',
  'C major scale',
]

/** People as forms know them. */
export const people: readonly (readonly [string, string, string])[] = [
  ['Maria', "O'Neill", 'maria.oneill@example.org'],
  ['Jürgen', 'Weiß', 'jw@example.com'],
  ['Anne-Sophie', 'Dubois', 'as.dubois+news@example.net'],
  ['Łukasz', 'Nowak', 'lukasz_nowak@example.org'],
  ['Seán', 'Mac Gabhann', 'sean@mail.example.com'],
  ['Mei', '王', 'mei.wang@example.cn'],
  ['Yuki', '田中', 'y.tanaka@example.jp'],
  ['Olga', 'Иванова', 'olga@example.com'],
  ['José', 'García López', 'jose.garcia@example.es'],
  ['Null', 'And', 'n.and@example.org'],
  ['Grant', 'Selection', 'grant@example.org'],
  ['Abigail', 'Script', 'abby@example.com'],
]

/** Markdown as wikis and comments take it. */
export const markdown: readonly string[] = [
  '# Shopping\n\n- milk\n- bread (two)\n- *good* cheese\n\nSee [it](https://example.org/list).',
  '## Meeting\n\n1. Greetings\n2. Budget\n3. Any other business\n\n> We meet again in May.',
  'A **bold** claim, an _italic_ doubt, and a footnote[^1].\n\n[^1]: From the second edition.',
  '| day | plan |\n|---|---|\n| Monday | paint the door |\n| Friday | rest |',
  'Steps:\n\n* unpack the parts\n* count the screws\n* follow the drawing on page 4',
]
