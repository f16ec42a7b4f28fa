// The fake over HTTP+SSE of 2024-11-05: answers come as events of the GET stream.
import { randomUUID } from 'node:crypto'
import { FakeServer } from './core.mjs'
import { event, HttpReply } from './http-reply.mjs'
import { LoopbackListener, readBody } from './listener.mjs'

export class FakeSse {
  #sessions = new Map()
  #record

  constructor(script, record) {
    this.#record = record
    this.core = new FakeServer(
      { ...script, eras: 'legacy' },
      { record, spawn: 1, crash: () => void this.crash() },
    )
    this.listener = new LoopbackListener(
      (req, res) => void this.#handle(req, res).catch(() => res.destroy()),
      () => record({ kind: 'connection' }),
    )
  }

  get url() {
    return `http://127.0.0.1:${this.listener.port}/sse`
  }

  get sessions() {
    return [...this.#sessions.keys()]
  }

  async open() {
    await this.listener.open()
    this.#record({ kind: 'start', pid: process.pid, spawn: 1 })
  }

  async crash() {
    this.dropSessions()
    await this.listener.close()
  }

  /** Forgets all sessions but leaves their streams open, as a server behind a sticky proxy would. */
  dropSessions() {
    for (const session of this.#sessions.keys()) this.#end(session, 'dropped')
  }

  cutStreams({ abruptly = false } = {}) {
    for (const { res } of this.#sessions.values()) abruptly ? res.destroy() : res.end()
  }

  async #handle(req, res) {
    const { pathname, searchParams } = new URL(req.url, 'http://fake')
    const session = searchParams.get('sessionId')
    this.#record({ kind: 'http', verb: req.method, url: req.url, headers: req.headers, session })
    const reply = new HttpReply(req, res, 'json')
    const [fault] = this.core.faults({ on: req.method })
    const body = await readBody(req)
    if (fault) return fault.do.kind === 'crash' ? this.crash() : reply.fault(fault.do, ['{}'])
    if (req.method === 'GET' && pathname === '/sse') return this.#stream(res)
    if (req.method === 'POST' && pathname === '/messages') return this.#post(body, session, reply)
    reply.plain(pathname === '/sse' ? 405 : 404, { allow: 'GET', 'content-type': 'text/plain' }, 'not here')
  }

  #stream(res) {
    const session = randomUUID()
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    res.write(`event: endpoint\ndata: /messages?sessionId=${session}\n\n`)
    const peer = this.core.addPeer(session, text => res.write(event(text)))
    this.#sessions.set(session, { peer, res })
    this.#record({ kind: 'session', session })
    res.on('close', () => this.#end(session, 'disconnect'))
  }

  async #post(raw, session, reply) {
    const open = this.#sessions.get(session)
    if (!open) return reply.plain(404, { 'content-type': 'text/plain' }, 'Could not find session')
    let message
    try {
      message = JSON.parse(raw)
    } catch {
      return reply.plain(400, { 'content-type': 'text/plain' }, 'Invalid message')
    }
    reply.plain(202, { 'content-type': 'text/plain' }, 'Accepted')
    await this.core.receive(raw, message, open.peer, this.#io(open.res, session))
  }

  #io(res, session) {
    return {
      send: text => res.write(event(text)),
      end: texts => res.write(texts.map(text => event(text)).join('')),
      fault: ({ kind }, [text]) => {
        if (kind === 'crash') return void this.crash()
        if (kind === 'session-lost') return this.#end(session, 'dropped')
        if (kind === 'close' || kind === 'reset') return void res.destroy()
        if (kind === 'cut') return void res.write(event(text).slice(0, 30), () => res.destroy())
        if (kind === 'stream-end') return void res.end()
        if (kind !== 'hang' && kind !== 'accepted') throw new Error(`the SSE transport has no fault ${kind}`)
      },
    }
  }

  #end(session, how) {
    const open = this.#sessions.get(session)
    if (!open) return
    this.#sessions.delete(session)
    this.core.dropPeer(open.peer)
    this.#record({ kind: 'session-end', session, how })
  }
}
