/** Which route serves a request: by host, then by the longest path prefix. */
import type { RequestHead } from './request.ts'

/** The part of a route that the router reads. */
export interface RouteMatch {
  /** '' is any host; `*.example.org` any name below example.org. */
  readonly hosts: readonly string[]
  /** A prefix that ends on a segment: `/api` serves `/api` and `/api/x`, not `/apiary`. */
  readonly path: string
}

interface Entry<R> {
  readonly prefix: string
  readonly route: R
}

/** Exact host before wildcard before any; in each, the longest path; equals in order. */
export class Router<R extends RouteMatch> {
  readonly #exact = new Map<string, Entry<R>[]>()
  /** The longest suffix first. */
  readonly #wildcards: { readonly suffix: string; readonly entries: Entry<R>[] }[] = []
  readonly #any: Entry<R>[] = []

  constructor(routes: readonly R[]) {
    for (const route of routes) {
      for (const host of route.hosts) this.#entriesOf(host.toLowerCase()).push(entryOf(route))
    }
    const lists = [...this.#exact.values(), ...this.#wildcards.map((wildcard) => wildcard.entries)]
    for (const entries of [...lists, this.#any]) {
      entries.sort((a, b) => b.prefix.length - a.prefix.length)
    }
    this.#wildcards.sort((a, b) => b.suffix.length - a.suffix.length)
  }

  /** Null when no route serves it. */
  match(request: Pick<RequestHead, 'authority' | 'path'>): R | null {
    const host = hostOf(request.authority)
    const exact = longest(this.#exact.get(host), request.path)
    if (exact !== null) return exact
    for (const { suffix, entries } of this.#wildcards) {
      if (host.length <= suffix.length || !host.endsWith(suffix)) continue
      const found = longest(entries, request.path)
      if (found !== null) return found
    }
    return longest(this.#any, request.path)
  }

  #entriesOf(host: string): Entry<R>[] {
    if (host === '' || host === '*') return this.#any
    if (!host.startsWith('*.')) {
      const entries = this.#exact.get(host) ?? []
      this.#exact.set(host, entries)
      return entries
    }
    const suffix = host.slice(1)
    const known = this.#wildcards.find((wildcard) => wildcard.suffix === suffix)
    if (known !== undefined) return known.entries
    const entries: Entry<R>[] = []
    this.#wildcards.push({ suffix, entries })
    return entries
  }
}

/** An authority without its port; the brackets of an IPv6 address stay. */
export function hostOf(authority: string): string {
  const colon = authority.lastIndexOf(':')
  if (colon === -1 || authority.endsWith(']')) return authority
  return authority.slice(0, colon)
}

function entryOf<R extends RouteMatch>(route: R): Entry<R> {
  // `/api/` and `/api` mean the same prefix; `/` becomes '', which every path begins with.
  return { prefix: route.path.replace(/\/+$/, ''), route }
}

function longest<R>(entries: readonly Entry<R>[] | undefined, path: string): R | null {
  for (const { prefix, route } of entries ?? []) {
    if (!path.startsWith(prefix)) continue
    if (prefix === '' || path.length === prefix.length || path[prefix.length] === '/') return route
  }
  return null
}
