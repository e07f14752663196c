/** Every file that is made from the chart or for it, and what it should hold. */
import { dashboard } from './dashboard.ts'
import { type Example, examples } from './examples.ts'
import { sidecarExamples, sidecarSchema } from './sidecar.ts'
import { type Helm, render } from './tools.ts'
import { valuesSchema } from './values-schema.ts'

/** Examples that come as plain manifests, too. */
const plain: Readonly<Record<string, string>> = {
  daemonset: 'deploy/daemonset.yaml',
  deployment: 'deploy/deployment.yaml',
  'node-address': 'deploy/node-address.yaml',
  mesh: 'deploy/mesh.yaml',
  'sidecar-own-secret': 'deploy/edgelink-sidecar.yaml',
}

/** Where the stored render of an example is. */
export function renderFile(name: string): string {
  return `test/chart/renders/${name}.yaml`
}

/** The objects of an example; throws what helm says against it. */
export function rendered(example: Example, version: Helm = 'helm'): string {
  const { flags, values, release } = example
  const { code, out, err } = render(flags, values, version, release)
  if (code !== 0) throw new Error(err)
  return out
}

/** Path and contents of what helm reads as it renders. */
export function chartFiles(): Map<string, string> {
  return new Map([
    [schemaFile, valuesSchema()],
    ['helm/edgelink-sidecar/values.schema.json', sidecarSchema()],
    ['helm/files/dashboard.json', dashboard()],
  ])
}

/** Path and contents of what helm renders. */
export function generatedFiles(): Map<string, string> {
  const files = new Map<string, string>()
  for (const example of [...examples, ...sidecarExamples]) {
    const objects = rendered(example)
    files.set(renderFile(example.name), objects)
    const file = plain[example.name]
    if (file !== undefined) files.set(file, manifest(example, objects))
  }
  return files
}

/** The schema's path. */
const schemaFile = 'helm/values.schema.json'

function manifest({ name, release }: Example, objects: string): string {
  const set =
    release === undefined
      ? 'the backend in the ConfigMap'
      : 'EDGELINK_SERVER, and make the Secret edgelink-psk'
  const own = objects
    .replaceAll('my-proxy-quic-proxy-waf', 'quic-proxy-waf')
    .replaceAll('instance: my-proxy', 'instance: quic-proxy-waf')
    .replaceAll('instance=my-proxy', 'instance=quic-proxy-waf')
    .replaceAll('managed-by: Helm', 'managed-by: kubectl')
    .replaceAll(/^(?: *# Source| {2}namespace| *helm\.sh\/chart): .*\n/gm, '')
  const bound = own.includes('subjects:')
    ? '# Bindings name the namespace of their subjects, default: change it there for another one.\n'
    : ''
  return `# Made from the chart (example ${name}) by \`npm run chart\`; change the chart instead.
# kubectl apply -n NAMESPACE -f ${plain[name]}; set ${set}.
${bound}${own}`
}
