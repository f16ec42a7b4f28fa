/** One piece of a URI template: text to be found as it is, or a run of characters. */
type Piece = { readonly text: string } | { readonly run: 'segment' | 'any' }

/**
 * Whether a URI can come from a template (RFC 6570). Tolerant: `{var}` takes a run without "/", every other operator
 * takes anything. Time is bounded by the product of both lengths; no pattern is ever compiled from the peer's text.
 */
export function matchesTemplate(template: string, uri: string): boolean {
  let reachable = new Uint8Array(uri.length + 1)
  reachable[0] = 1
  for (const piece of piecesOf(template)) {
    reachable = 'text' in piece ? afterText(reachable, uri, piece.text) : afterRun(reachable, uri, piece.run)
  }
  return reachable[uri.length] === 1
}

function piecesOf(template: string): Piece[] {
  const pieces: Piece[] = []
  let at = 0
  while (at < template.length) {
    const open = template.indexOf('{', at)
    const close = open < 0 ? -1 : template.indexOf('}', open)
    if (close < 0) {
      pieces.push({ text: template.slice(at) })
      return pieces
    }
    if (open > at) pieces.push({ text: template.slice(at, open) })
    pieces.push({ run: /^[A-Za-z0-9_.%]+$/.test(template.slice(open + 1, close)) ? 'segment' : 'any' })
    at = close + 1
  }
  return pieces
}

function afterText(reachable: Uint8Array, uri: string, text: string): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(uri.length + 1)
  for (let at = 0; at + text.length <= uri.length; at += 1) {
    if (reachable[at] === 1 && uri.startsWith(text, at)) next[at + text.length] = 1
  }
  return next
}

/** From any reachable index, every later one up to where the run must stop. */
function afterRun(reachable: Uint8Array, uri: string, run: 'segment' | 'any'): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(uri.length + 1)
  let running = false
  for (let at = 0; at <= uri.length; at += 1) {
    if (reachable[at] === 1) running = true
    if (running) next[at] = 1
    if (run === 'segment' && uri[at] === '/') running = false
  }
  return next
}
