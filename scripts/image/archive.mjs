// An image as one file that `ctr images import`, `docker load` and `podman load` take: an OCI
// layout, and beside its index the list that docker looks for.
import { digestOf, tarOf } from './tar.mjs'

const epoch = '1970-01-01T00:00:00Z'
const oci = 'application/vnd.oci.image'

/** The archive of an image; `layers` are lists of entries, what changes least first. */
export function imageArchive({ name, architecture, layers, config, labels }) {
  const blobs = new Map()
  const add = (mediaType, bytes, more = {}) => {
    const digest = digestOf(bytes)
    blobs.set(digest, bytes)
    return { mediaType, digest, size: bytes.length, ...more }
  }
  const layerParts = layers.map(({ entries }) => add(`${oci}.layer.v1.tar`, tarOf(entries)))
  const imageConfig = {
    architecture,
    os: 'linux',
    created: epoch,
    config: { ...config, Labels: labels },
    rootfs: { type: 'layers', diff_ids: layerParts.map(({ digest }) => digest) },
    history: layers.map(({ name: layer }) => ({ created: epoch, created_by: layer })),
  }
  const configPart = add(`${oci}.config.v1+json`, json(imageConfig))
  const manifest = {
    schemaVersion: 2,
    mediaType: `${oci}.manifest.v1+json`,
    config: configPart,
    layers: layerParts,
    annotations: labels,
  }
  const manifestPart = add(manifest.mediaType, json(manifest), {
    platform: { os: 'linux', architecture },
    annotations: {
      'io.containerd.image.name': name,
      'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
    },
  })
  const blobPath = (digest) => `blobs/${digest.replace(':', '/')}`
  const index = { schemaVersion: 2, mediaType: `${oci}.index.v1+json`, manifests: [manifestPart] }
  const dockerList = {
    Config: blobPath(configPart.digest),
    RepoTags: [name],
    Layers: layerParts.map(({ digest }) => blobPath(digest)),
  }
  const file = (path, text) => ({ path, type: 'file', mode: 0o644, text })
  const folder = (path) => ({ path, type: 'folder', mode: 0o755 })
  return tarOf([
    file('oci-layout', json({ imageLayoutVersion: '1.0.0' })),
    file('index.json', json(index)),
    file('manifest.json', json([dockerList])),
    folder('blobs'),
    folder('blobs/sha256'),
    ...[...blobs].map(([digest, bytes]) => file(blobPath(digest), bytes)),
  ])
}

function json(value) {
  return Buffer.from(JSON.stringify(value))
}
