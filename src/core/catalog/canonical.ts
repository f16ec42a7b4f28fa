/**
 * JSON text in one form for all texts that mean the same: no space between, keys sorted, strings escaped in one way.
 * Numbers stay as they are written and a repeated key stays repeated: readers differ about both, so they are no detail.
 * @param text valid JSON
 */
export function canonicalJson(text: string): string {
  return new Canonical(text).value()
}

/** The members of an object, each with its value in canonical form, in the order of the text. */
export function canonicalMembers(text: string): readonly (readonly [key: string, value: string])[] {
  return new Canonical(text).members()
}

const BLANK = /[ \t\r\n]*/y
const PLAIN = /[^,\]}\s]+/y

class Canonical {
  #at = 0

  constructor(private readonly text: string) {}

  value(): string {
    this.#take(BLANK)
    const first = this.text[this.#at]
    if (first === '"') return JSON.stringify(this.#string())
    if (first === '{') {
      const members = [...this.members()].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      return `{${members.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')}}`
    }
    return first === '[' ? `[${this.#elements().join(',')}]` : this.#take(PLAIN)
  }

  members(): (readonly [string, string])[] {
    const members: (readonly [string, string])[] = []
    this.#take(BLANK)
    this.#at += 1
    while (!this.#closes('}')) {
      const key = this.#string()
      this.#take(BLANK)
      this.#at += 1
      members.push([key, this.value()])
    }
    return members
  }

  #elements(): string[] {
    const elements: string[] = []
    this.#at += 1
    while (!this.#closes(']')) elements.push(this.value())
    return elements
  }

  /** Steps over what stands between two entries. True at the end of them, the bracket taken. */
  #closes(bracket: string): boolean {
    this.#take(BLANK)
    if (this.text[this.#at] === ',') {
      this.#at += 1
      this.#take(BLANK)
    }
    if (this.text[this.#at] !== bracket) return false
    this.#at += 1
    return true
  }

  /** By hand: a pattern would keep a way back for each character of a long one. */
  #string(): string {
    let end = this.#at + 1
    while (this.text[end] !== '"') {
      if (end >= this.text.length) throw new Error('this is no valid JSON')
      end += this.text[end] === '\\' ? 2 : 1
    }
    const literal = this.text.slice(this.#at, end + 1)
    this.#at = end + 1
    return JSON.parse(literal) as string
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.text)?.[0] ?? ''
    if (found === '' && pattern !== BLANK) throw new Error('this is no valid JSON')
    this.#at += found.length
    return found
  }
}
