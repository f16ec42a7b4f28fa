import type { Bytes, HeaderParam, ObjectSlice } from '../model/index.js'
import { decodeHeaderValue, type Envelope, member, objectAt, stringAt, typeAt } from '../wire/index.js'

/** The headers that mirror the body (Streamable HTTP 2026-07-28); raw values. */
export interface InboundHeaders {
  readonly version: string | undefined
  readonly method: string | undefined
  readonly name: string | undefined
  /** `Mcp-Param-*`, by its suffix in lower case. */
  param(suffix: string): string | undefined
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
    const expected = argumentAt(envelope.params, param)
    if (!expected) continue
    const raw = headers.param(param.header.toLowerCase())
    const fault = compare(`Mcp-Param-${param.header}`, raw, expected.text, expected.isNumber)
    if (fault) return fault
  }
  return null
}

/** What a header may hold as it is (Streamable HTTP 2026-07-28, "Header encoding"); the rest has to be encoded. */
const PLAIN = /^[\x20-\x7e\t]*$/
const DECIMAL = /^-?\d+(?:\.\d+)?$/

function compare(
  header: string,
  raw: string | undefined,
  expected: string | undefined,
  isNumber = false,
): string | null {
  if (expected === undefined) return null
  if (raw === undefined) return `The header ${header} is missing.`
  const decoded = PLAIN.test(raw) ? decodeHeaderValue(raw) : undefined
  if (decoded === undefined) return `The header ${header} cannot be decoded.`
  if (decoded === expected) return null
  const sameNumber = isNumber && DECIMAL.test(decoded) && Number(decoded) === Number(expected)
  return sameNumber ? null : `The header ${header} does not say what the body says.`
}

interface Argument {
  readonly text: string
  readonly isNumber: boolean
}

/** The argument as text; undefined when it is null or absent. */
function argumentAt(params: ObjectSlice | null, { path }: HeaderParam): Argument | undefined {
  let object = params
  for (const key of ['arguments', ...path.slice(0, -1)]) {
    const inner = object ? member(object, key) : undefined
    if (!object || !inner || typeAt(object.bytes, inner) !== 'object') return undefined
    object = objectAt(object.bytes, inner)
  }
  const found = object ? member(object, path.at(-1) ?? '') : undefined
  if (!object || !found || typeAt(object.bytes, found) === 'null') return undefined
  const text = stringAt(object.bytes, found) ?? rawText(object.bytes, found.start, found.end)
  return { text, isNumber: typeAt(object.bytes, found) === 'number' }
}

function rawText(bytes: Bytes, start: number, end: number): string {
  return Buffer.from(bytes.subarray(start, end)).toString('latin1')
}
