import type { Bytes, HeaderParam, ObjectSlice } from '../model/index.js'
import { decodeHeaderValue, type Envelope, member, objectAt, stringAt, typeAt } from '../wire/index.js'

/** The headers that mirror the body (Streamable HTTP 2026-07-28); raw values. */
export interface InboundHeaders {
  readonly version: string | undefined
  readonly method: string | undefined
  readonly name: string | undefined
  /** `Mcp-Param-*`, by lower-case suffix. */
  readonly params: ReadonlyMap<string, string>
}

const NAMED_BY: Readonly<Record<string, 'name' | 'uri'>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
}

/** What is wrong with the mirrored headers, or null. Whoever reads the body must not trust them unchecked. */
export function checkHeaders(
  headers: InboundHeaders,
  envelope: Envelope,
  paramsOf: (tool: string) => readonly HeaderParam[],
): string | null {
  const { method } = envelope
  if (headers.method !== method) {
    const got = headers.method === undefined ? 'is missing' : `says ${JSON.stringify(headers.method)}`
    return `The header Mcp-Method ${got}; the body says ${JSON.stringify(method)}.`
  }
  const named = NAMED_BY[method ?? '']
  if (named) {
    const fault = compare('Mcp-Name', headers.name, envelope[named] ?? undefined)
    if (fault) return fault
  }
  if (method !== 'tools/call' || envelope.name === null) return null
  for (const param of paramsOf(envelope.name)) {
    const expected = argumentText(envelope.params, param)
    const fault = compare(
      `Mcp-Param-${param.header}`,
      headers.params.get(param.header.toLowerCase()),
      expected,
    )
    if (fault) return fault
  }
  return null
}

function compare(header: string, raw: string | undefined, expected: string | undefined): string | null {
  if (expected === undefined) return null
  if (raw === undefined) return `The header ${header} is missing.`
  const decoded = decodeHeaderValue(raw)
  if (decoded === undefined) return `The header ${header} cannot be decoded.`
  if (decoded === expected) return null
  const sameNumber = /^-?\d/.test(expected) && decoded.trim() !== '' && Number(decoded) === Number(expected)
  return sameNumber ? null : `The header ${header} does not say what the body says.`
}

/** The argument as text; undefined when it is null or absent. */
function argumentText(params: ObjectSlice | null, { path }: HeaderParam): string | undefined {
  let object = params
  for (const key of ['arguments', ...path.slice(0, -1)]) {
    const inner = object ? member(object, key) : undefined
    if (!object || !inner || typeAt(object.bytes, inner) !== 'object') return undefined
    object = objectAt(object.bytes, inner)
  }
  const found = object ? member(object, path.at(-1) ?? '') : undefined
  if (!object || !found || typeAt(object.bytes, found) === 'null') return undefined
  return stringAt(object.bytes, found) ?? text(object.bytes, found.start, found.end)
}

function text(bytes: Bytes, start: number, end: number): string {
  return Buffer.from(bytes.subarray(start, end)).toString('latin1')
}
