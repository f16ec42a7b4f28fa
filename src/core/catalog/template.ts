/** One piece of a URI template: text to be found as it is, or a run of characters. */
type Piece = { readonly text: string } | { readonly run: 'segment' | 'any' }

/** A template with more runs than this, neighbours counted as one, is a trap rather than an address. */
const MAX_RUNS = 64

/**
 * Whether a URI can come from a template (RFC 6570). Tolerant: `{var}` takes a run without "/", every other operator
 * takes anything. Time grows with the sum of both lengths; no pattern is ever compiled from the peer's text.
 */
export function matchesTemplate(template: string, uri: string): boolean {
  if (!startsAlike(template, uri)) return false
  const pieces = piecesOf(template)
  if (pieces === null) return false
  let reachable = new Uint8Array(uri.length + 1)
  let next = new Uint8Array(uri.length + 1)
  reachable[0] = 1
  for (const piece of pieces) {
    next.fill(0)
    if ('text' in piece) markAfterText(reachable, next, uri, piece.text)
    else markAfterRun(reachable, next, uri, piece.run)
    ;[reachable, next] = [next, reachable]
  }
  return reachable[uri.length] === 1
}

/** Cheap and nearly always decisive: most templates differ from the URI in what they begin with. */
function startsAlike(template: string, uri: string): boolean {
  const open = template.indexOf('{')
  return uri.startsWith(open < 0 ? template : template.slice(0, open))
}

/** Null when there are more runs than any real template has. */
function piecesOf(template: string): Piece[] | null {
  const pieces: Piece[] = []
  let runs = 0
  let at = 0
  while (at < template.length) {
    const open = template.indexOf('{', at)
    const close = open < 0 ? -1 : template.indexOf('}', open)
    if (close < 0) {
      pieces.push({ text: template.slice(at) })
      return pieces
    }
    if (open > at) pieces.push({ text: template.slice(at, open) })
    if (addRun(pieces, runOf(template.slice(open + 1, close)))) runs += 1
    if (runs > MAX_RUNS) return null
    at = close + 1
  }
  return pieces
}

function runOf(expression: string): 'segment' | 'any' {
  return /^[A-Za-z0-9_.%]+$/.test(expression) ? 'segment' : 'any'
}

/** Neighbouring runs take what the wider one takes alone. True when the run is a new piece. */
function addRun(pieces: Piece[], run: 'segment' | 'any'): boolean {
  const last = pieces.at(-1)
  if (last === undefined || 'text' in last) {
    pieces.push({ run })
    return true
  }
  if (run === 'any') pieces[pieces.length - 1] = { run }
  return false
}

/** Every index after an occurrence of the text that begins where it may (Knuth, Morris, Pratt). */
function markAfterText(reachable: Uint8Array, next: Uint8Array, uri: string, text: string): void {
  if (text.length > uri.length) return
  const borders = bordersOf(text)
  let matched = 0
  for (let at = 0; at < uri.length; at += 1) {
    while (matched > 0 && (matched === text.length || text[matched] !== uri[at]))
      matched = borders[matched] ?? 0
    if (text[matched] === uri[at]) matched += 1
    if (matched === text.length && reachable[at + 1 - matched] === 1) next[at + 1] = 1
  }
}

/** For each length of a beginning of the text: the longest shorter beginning that it also ends with. */
function bordersOf(text: string): Uint32Array {
  const borders = new Uint32Array(text.length + 1)
  let matched = 0
  for (let at = 1; at < text.length; at += 1) {
    while (matched > 0 && text[matched] !== text[at]) matched = borders[matched] ?? 0
    if (text[matched] === text[at]) matched += 1
    borders[at + 1] = matched
  }
  return borders
}

/** From any reachable index, every later one up to where the run must stop. */
function markAfterRun(reachable: Uint8Array, next: Uint8Array, uri: string, run: 'segment' | 'any'): void {
  let running = false
  for (let at = 0; at <= uri.length; at += 1) {
    if (reachable[at] === 1) running = true
    if (running) next[at] = 1
    if (run === 'segment' && uri[at] === '/') running = false
  }
}
