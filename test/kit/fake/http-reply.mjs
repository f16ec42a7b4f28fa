// The answer to one POST: plain JSON, or an event stream as soon as anything but the answer has to be sent.

const JSON_HEAD = { 'content-type': 'application/json' }
const STREAM_HEAD = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
}

export function event(text, id) {
  const lines = text.split('\n').map(line => `data: ${line}\n`)
  return `event: message\n${id === undefined ? '' : `id: ${id}\n`}${lines.join('')}\n`
}

export class HttpReply {
  #extra
  #mode
  #aborted = new AbortController()

  /**
   * @param mode `json`, `sse`, or `auto`
   * @param extra headers of every answer, such as the session id
   */
  constructor(req, res, mode, extra = {}) {
    this.req = req
    this.res = res
    this.headers = req.headers
    this.#mode = mode
    this.#extra = extra
    res.on('close', () => {
      if (!res.writableFinished) this.#aborted.abort()
    })
  }

  get signal() {
    return this.#aborted.signal
  }

  /** A message before the answer. */
  send(text) {
    if (this.#mode === 'json' || this.res.writableEnded) return
    this.#openStream()
    this.res.write(event(text))
  }

  /** The final message, or several of them. */
  end(texts, status = 200) {
    if (this.res.writableEnded || this.res.destroyed) return
    if (this.res.headersSent || (this.#mode === 'sse' && status === 200) || texts.length > 1) {
      this.#openStream()
      this.res.end(texts.map(text => event(text)).join(''))
      return
    }
    this.plain(status, JSON_HEAD, texts[0])
  }

  plain(status, headers, body) {
    const length = { 'content-length': Buffer.byteLength(body) }
    this.res.writeHead(status, { ...this.#extra, ...headers, ...length }).end(body)
  }

  refuse(status, code, message, { id = 'null', data, headers = {} } = {}) {
    const error = JSON.stringify({ code, message, ...(data === undefined ? {} : { data }) })
    this.plain(status, { ...JSON_HEAD, ...headers }, `{"jsonrpc":"2.0","id":${id},"error":${error}}`)
  }

  fault(action, [text]) {
    switch (action.kind) {
      case 'hang':
        if (action.stream) this.#openStream()
        return
      case 'close':
        return void this.req.socket.destroy()
      case 'reset':
        return void this.req.socket.resetAndDestroy()
      case 'cut':
        return this.#cut(action, text)
      case 'http':
        return this.plain(action.status, action.headers ?? {}, action.body ?? '')
      case 'html':
        return this.plain(
          action.status ?? 200,
          { 'content-type': 'text/html' },
          '<html><body>Sign in</body></html>',
        )
      case 'empty':
        return this.plain(200, JSON_HEAD, '')
      case 'accepted':
        return this.plain(202, {}, '')
      case 'stream-end':
        this.#openStream()
        return void this.res.end(': nothing more\n\n')
      default:
        throw new Error(`the HTTP transport has no fault ${action.kind}`)
    }
  }

  /** Sends half of the answer, then drops the socket. */
  #cut({ stream, bytes }, text) {
    const whole = stream ? event(text) : text
    const half = whole.slice(0, bytes ?? Math.floor(whole.length / 2))
    if (stream) this.#openStream()
    else {
      this.res.writeHead(200, { ...this.#extra, ...JSON_HEAD, 'content-length': Buffer.byteLength(whole) })
    }
    this.res.write(half, () => this.req.socket.destroy())
  }

  #openStream() {
    if (this.res.headersSent) return
    this.res.writeHead(200, { ...this.#extra, ...STREAM_HEAD })
    this.res.flushHeaders()
  }
}
