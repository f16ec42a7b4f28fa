// Named turnstiles: a step waits until the test lets it pass.

export class Gates {
  #all = new Map()

  /** Waits for one `release` of the gate; releases that came earlier count. */
  pass(name, signal) {
    const gate = this.#gate(name)
    if (gate.permits > 0) {
      gate.permits--
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      gate.waiting.push(resolve)
      signal.addEventListener(
        'abort',
        () => {
          gate.waiting = gate.waiting.filter(one => one !== resolve)
          reject(new Error('cancelled'))
        },
        { once: true },
      )
    })
  }

  release(name, times = 1) {
    const gate = this.#gate(name)
    for (let n = 0; n < times; n++) {
      const next = gate.waiting.shift()
      if (next) next()
      else gate.permits++
    }
  }

  #gate(name) {
    const known = this.#all.get(name)
    if (known) return known
    const fresh = { permits: 0, waiting: [] }
    this.#all.set(name, fresh)
    return fresh
  }
}
