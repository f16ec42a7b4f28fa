import { MODERN_META } from '../kit/modern-meta.js'
import { type RawResponse, rawPost } from '../kit/raw-http.js'

interface ModernAnswer {
  readonly response: RawResponse
  readonly result: Readonly<Record<string, unknown>>
  readonly error: {
    readonly code: number
    readonly message: string
    readonly data?: Record<string, unknown>
  } | null
}

/** One stateless request of the modern era, as raw as it gets. */
export async function modern(
  url: string,
  method: string,
  params: Readonly<Record<string, unknown>> = {},
  meta: Readonly<Record<string, unknown>> = {},
): Promise<ModernAnswer> {
  const body = { jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: { ...MODERN_META, ...meta } } }
  const named = params['name'] ?? params['uri']
  const response = await rawPost(url, JSON.stringify(body), {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...(typeof named === 'string' ? { 'mcp-name': named } : {}),
  })
  const last = JSON.parse(response.messages.at(-1) ?? '{}') as Partial<ModernAnswer>
  return { response, result: last.result ?? {}, error: last.error ?? null }
}

/** One of each kind under given names, whose texts say whose they are. */
export const offering = (who: string) => ({
  builtins: false,
  tools: [{ name: 'my_tool', result: `{"content":[{"type":"text","text":"${who}"}]}` }],
  resources: [{ uri: 'demo://thing/1', text: who }],
  resourceTemplates: [{ uriTemplate: 'demo://made/{id}', text: who }],
  prompts: [{ name: 'my_prompt', text: who }],
})

/** Milliseconds that it took. */
export async function timed<T>(run: () => Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  const started = performance.now()
  const value = await run()
  return { ms: performance.now() - started, value }
}
