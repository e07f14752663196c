/** The help text; the flags are the contract of `edge run`. */

/** What `edge help` prints. */
export const usage = `Usage: edge COMMAND [FLAGS]

  edge run        serves HTTP/1.1, HTTP/2 and HTTP/3 in the foreground
  edge validate   checks the configuration and the rules, and stops
  edge rules      shows the installed rules
  edge rules install [--from DIR] [--to DIR]
                  installs the OWASP CRS: the release, else Debian's package, or a local copy
  edge rules list [--json] [RULES]
                  every rule: id, place, phase, level, severity, tags, message
  edge waf lint [--rules DIR] [FILES…] [--json]
                  what is wrong or doubtful in SecLang files, without a server
  edge waf test FILE|DIR… [--overrides FILE] [--include REGEX] [--http 1.1|2|3] [--json]
                [--crs] [RULES]
                  runs go-ftw's YAML cases against rules without a server; --crs: with the settings
                  that the CRS's own cases presume
                [--connect HOST:PORT|URL] [--log FILE]
                  the same against a server: by its log, else by its statuses
  edge waf serve [--listen ADDR:PORT|unix:PATH] [--questions ADDR:PORT|off] [RULES]
                  the WAF as a service: POST /evaluate, GET /health (default 0.0.0.0:9000);
                  --questions: where proxies ask (--waf-service), as waf.service.listen;
                  SIGHUP takes the rules anew: here first, then in the proxies
  edge explain REQUEST-ID [--admin ADDR:PORT|unix:PATH] [--file FILE] [--json]
                  [--as secrule|yaml|helm]
                  tells what stopped a request and why, and the narrowest exclusion; FILE is
                  that of waf.events.file or waf.auditLogFile
  edge health [--admin ADDR:PORT|unix:PATH] [--live]
                  whether the running program is ready (--live: answers); exit code 0 or 1
                [--h3 URL]  whether an answer comes over HTTP/3 from there; prints its status
  edge controller [--namespace NS] [--selector LABELS] [--class NAME] [--lease NAME]
                  [--address-types InternalIP,ExternalIP] [--status ADDR:PORT]
                  [--server URL [--token-file FILE] [--ca-file FILE]]
                  writes the addresses of nodes with a ready proxy into Services of our
                  loadBalancerClass; in a pod it finds the API by itself
  edge mesh coordinator --listen ADDR:PORT --state DIR
                  lets nodes into a WireGuard mesh and tells each of the others
                [--kubernetes --account NAME [--config-map NAME] [--network CIDR]… [--allow CIDR]…
                  [--annotated-nodes] [--audience edge-mesh] [--location-label LABEL]]
                  nodes of a cluster join by the token of their pod (up --token-file --pin-file);
                  annotations, Peers and Gateways; --location-label: its value is where nodes stand;
                  in a pod it finds the API as edge controller
  edge mesh token --state DIR|--coordinator URL [--admin-key FILE]
                  [--uses N] [--expires 1h] [--label K=V]… [--cidr CIDR]…
                  prints a token for it: one use and an hour by default; --cidr: what its nodes may
                  advertise. Also beside the running coordinator; from afar with the file admin-key
                  of its folder (or EDGE_MESH_ADMIN_KEY); --label role=leaf: its nodes hear of, and
                  are heard by, nodes without that label only; --label location=NAME: they reach
                  those of other locations through two leaders; --label leader=off: they are none.
                  Or --psk-file FILE: 64 hex characters, seed 000's pre-shared key, as a token
                  without end
  edge mesh export --name NAME --state DIR [--format wg-quick|qr|json]
                  lets a device in that is no agent; prints its configuration, this once
  edge mesh remove NAME --state DIR
                  takes a node out of the mesh for good, at the coordinator
  edge mesh join --coordinator URL --token TOKEN --name NAME --state DIR [--port N]
                 [--advertise CIDR]… [--endpoint ADDR:PORT]
                  makes this node one of the mesh and ends; then: edge mesh up --state DIR
  edge mesh up --coordinator URL --token TOKEN --name NAME --state DIR [--interface edge0]
               [--mode auto|kernel|tun|netstack] [--port 51820] [--mtu N] [--advertise CIDR]…
               [--endpoint ADDR:PORT] [--relay auto|off] [--relay-h3 PORT] [--relay-tcp PORT]
               [--leader auto|off] [--default-route NAME]
                  this node's agent; needs NET_ADMIN and /dev/net/tun; the token (EDGE_MESH_TOKEN)
                  only the first time; --advertise: ranges that others reach through this node.
                  Whoever has an --endpoint forwards for nodes that find no direct path; with
                  --relay-tcp also for those that no UDP comes out of. --leader off: it leads no
                  location, whatever the coordinator would like.
                  --default-route: all that no route leads to goes through that node, which has to
                  advertise 0.0.0.0/0 or ::/0
                  Seed 000's EDGELINK_SERVER, EDGELINK_PSK, EDGELINK_DEVICE_NAME and
                  EDGELINK_LOG_LEVEL are read, too; edgelink-lite --status is edge mesh status
  edge mesh gateway [--listen ADDR:PORT|unix:PATH] [--agents ADDR:PORT] [--secret-file FILE]
                  [--node-name NAME] [--gateway-endpoint ADDR] [--pod-cidr CIDR,…]
                  [--mesh-state DIR | --coordinator URL …as up]
                  HTTP CONNECT to what agents and nodes stand for; also edge gateway; NODE_NAME,
                  NODE_IP and POD_IP stand for flags
  edge mesh gateway-agent --proxy-server-host HOST [--proxy-server-port 8132]
                  --agent-identifiers ipv4=ADDR,ipv6=ADDR,host=NAME,cidr=CIDR,default-route=true
                  [--secret-file FILE] [--name NAME]
                  stands for destinations beside it; needs no open port
  edge mesh status --state DIR [--json]
                  this node and its peers; exit code 3 when it is in no mesh
  edge mesh rotate [--state DIR]
                  the agent there changes its WireGuard key; each does by itself every 30 days
  edge mesh doctor [--state DIR] [--coordinator URL] [--port N] [--interface NAME] [--json]
                  what stands in the way of an agent here, and how to mend it; exit code 3 when
                  something fails
  edge replay FILE [--json] [--top N] [RULES]
                  what the rules would block of an access log, a HAR or an audit log
  edge help       this text
  edge --version  the version

RULES: [--config FILE] [--rules DIR|FILE] [--paranoia 1..4] [--waf-setup FILE]…

Flags of run and validate:
  --config FILE                 edge.yaml
  --backend URL                 http(s)://HOST:PORT or mesh://NODE:PORT; repeated: several
  --http ADDR:PORT              HTTP in clear (default 0.0.0.0:80); off: none
  --https ADDR:PORT             h1 and h2 on TCP, h3 on UDP (default 0.0.0.0:443); off: none
  --cert FILE --key FILE        certificate and key (PEM); default: a local CA makes one
  --waf block|detect|off        what the WAF does (default block)
  --rules DIR                   a CRS folder (default: the installed rules)
  --paranoia 1..4               blocking paranoia level
  --waf-setup FILE              SecLang before the rules; repeated: in order
  --waf-service HOST:PORT       edge waf serve inspects, with the same rules; repeated: several
  --waf-log FILE                one text line per matched rule
  --no-redirect                 serve requests in clear, do not redirect them to https
  --admin ADDR:PORT|unix:PATH   admin API, loopback only
  --status ADDR:PORT            probes and metrics, read only
  --advertise-https-port N      the port that clients see
  --workers N                   WAF workers (default: one per processor)
  --wire-threads N              connection threads (default: one per processor)
  --shared-ports                a second edge may serve the same ports: for a handover
  --mesh-state DIR              folder of edge mesh up: for backends mesh://NODE:PORT
  --drain-mode withdraw|handover
                                the end on SIGTERM (default withdraw)
  --last-good                   (run) starts with the last good configuration when this one is not
  --print-config                (run) prints the configuration with origins, and stops

SIGHUP reloads; changed files do so by themselves. SIGTERM drains, a second one ends at once.
Every single setting also has an environment name: waf.mode is EDGE_WAF_MODE.
Exit codes: 0 fine, 1 failure, 2 usage, 3 ran and found problems, 78 configuration invalid.
`
