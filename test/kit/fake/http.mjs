// The fake over Streamable HTTP, both eras on one endpoint.
import { randomUUID } from 'node:crypto'
import { FakeServer } from './core.mjs'
import { event, HttpReply } from './http-reply.mjs'
import { LoopbackListener, readBody } from './listener.mjs'
import { checkModern } from './modern-http.mjs'
import { eraOf, LEGACY_VERSIONS, META, RpcError } from './protocol.mjs'
import { rawMember } from './raw-json.mjs'

export class FakeHttp {
  #sessions = new Map()
  #streams = new Map()
  #requests = 0
  #record

  constructor(script, record) {
    this.#record = record
    this.core = new FakeServer(script, {
      record,
      spawn: 1,
      crash: () => void this.crash(),
    })
    this.listener = new LoopbackListener(
      (req, res) => void this.#handle(req, res).catch(thrown => this.#broken(res, thrown)),
      () => record({ kind: 'connection' }),
    )
  }

  get url() {
    return `http://127.0.0.1:${this.listener.port}/mcp`
  }

  get sessions() {
    return [...this.#sessions.keys()]
  }

  async open() {
    await this.listener.open()
    this.#record({ kind: 'start', pid: process.pid, spawn: 1 })
  }

  /** As if the process had died: sockets dropped, sessions forgotten. */
  async crash() {
    this.dropSessions()
    await this.listener.close()
  }

  dropSessions() {
    for (const session of this.#sessions.keys()) this.#end(session, 'dropped')
  }

  /** Ends the GET streams of all sessions, or drops their sockets. */
  cutStreams({ abruptly = false } = {}) {
    for (const res of this.#streams.values()) abruptly ? res.destroy() : res.end()
  }

  async #handle(req, res) {
    const session = req.headers['mcp-session-id'] ?? null
    this.#record({ kind: 'http', verb: req.method, url: req.url, headers: req.headers, session })
    const reply = new HttpReply(req, res, this.core.script.answers ?? 'auto')
    const [fault] = this.core.faults({ on: req.method })
    const body = await readBody(req)
    if (fault) return this.#play(fault.do, reply, session)
    if (req.url?.split('?')[0] !== '/mcp')
      return reply.plain(404, { 'content-type': 'text/plain' }, 'not found')
    if (req.method === 'POST') return this.#post(body, session, req, res, reply)
    if (!this.core.speaks('legacy') || !this.#usesSessions()) return this.#notAllowed(reply)
    if (req.method === 'GET') return this.#get(session, req, res, reply)
    if (req.method === 'DELETE') return this.#delete(session, reply)
    return this.#notAllowed(reply)
  }

  async #play(action, reply, session) {
    if (action.kind === 'delay') throw new Error('a delay needs a method, not an HTTP verb')
    if (action.kind === 'crash') return this.crash()
    if (action.kind === 'session-lost') return this.#loseSession(session, reply)
    reply.fault(action, ['{}'])
  }

  #usesSessions() {
    return this.core.script.sessions ?? true
  }

  #notAllowed(reply) {
    reply.plain(405, { allow: 'POST', 'content-type': 'text/plain' }, 'Method Not Allowed')
  }

  // ---- POST ----------------------------------------------------------------------------------------------

  async #post(raw, session, req, res, reply) {
    const accept = req.headers.accept ?? ''
    if (!accept.includes('application/json') || !accept.includes('text/event-stream')) {
      return reply.refuse(406, -32000, 'Not Acceptable: accept both application/json and text/event-stream')
    }
    if (!(req.headers['content-type'] ?? '').startsWith('application/json')) {
      return reply.refuse(415, -32000, 'Unsupported Media Type')
    }
    let message
    try {
      message = JSON.parse(raw)
    } catch {
      return reply.refuse(400, -32700, 'Parse error')
    }
    if (Array.isArray(message)) return reply.refuse(400, -32600, 'Batches are not supported')
    const era = eraOf(message)
    if (era === 'modern' && this.core.speaks('modern')) return this.#postModern(raw, message, reply)
    if (message.method !== undefined && message.id !== undefined && !this.core.speaks(era)) {
      if (await this.core.playForeign(raw, message, this.#withFaults(reply, session))) return
    }
    return this.#postLegacy(raw, message, session, req, res, reply)
  }

  async #postModern(raw, message, reply) {
    const id = message.id === undefined ? 'null' : rawMember(raw, 'id')
    if (message.id === undefined) {
      await this.core.receive(raw, message, null, reply)
      return reply.plain(202, {}, '')
    }
    try {
      checkModern(reply.headers, message, this.core.script, this.core.supported())
    } catch (thrown) {
      if (!(thrown instanceof RpcError)) throw thrown
      this.#record({ kind: 'refused', method: message.method, code: thrown.code, message: thrown.message })
      return reply.refuse(thrown.status, thrown.code, thrown.message, { id, data: thrown.data })
    }
    reply.key = `http-${++this.#requests}`
    await this.core.receive(raw, message, null, this.#withFaults(reply, null))
  }

  async #postLegacy(raw, message, session, req, res, reply) {
    const isRequest = message.method !== undefined && message.id !== undefined
    const id = isRequest ? rawMember(raw, 'id') : 'null'
    if (!this.core.speaks('legacy')) return this.#refuseLegacy(message, id, reply)
    const version = req.headers['mcp-protocol-version']
    if (version !== undefined && !LEGACY_VERSIONS.includes(version)) {
      return reply.refuse(400, -32000, `Bad Request: Unsupported protocol version: ${version}`)
    }
    if (message.method === 'initialize') return this.#openSession(raw, message, req, res)
    const peer = this.#usesSessions() ? this.#sessions.get(session) : this.#sessions.get('stateless')
    if (!peer && session !== null) return reply.refuse(404, -32001, 'Session not found', { id })
    if (!peer) return reply.refuse(400, -32000, 'Bad Request: No valid session ID provided', { id })
    if (isRequest) return this.core.receive(raw, message, peer, this.#withFaults(reply, session))
    await this.core.receive(raw, message, peer, reply)
    reply.plain(202, {}, '')
  }

  #refuseLegacy(message, id, reply) {
    if (message.id === undefined) return reply.plain(202, {}, '')
    const claimed = message.params?._meta?.[META.version]
    const requested = claimed ?? message.params?.protocolVersion ?? null
    const data = { supported: this.core.supported(), requested }
    reply.refuse(400, -32022, 'Unsupported protocol version', { id, data })
  }

  async #openSession(raw, message, req, res) {
    const session = this.#usesSessions() ? randomUUID() : 'stateless'
    const extra = this.#usesSessions() ? { 'mcp-session-id': session } : {}
    const reply = new HttpReply(req, res, this.core.script.answers ?? 'auto', extra)
    const peer = this.core.addPeer(session, text => this.#streams.get(session)?.write(event(text)))
    this.#sessions.set(session, peer)
    this.#record({ kind: 'session', session })
    await this.core.receive(raw, message, peer, this.#withFaults(reply, session))
  }

  /** Adds the faults that reach beyond one answer. */
  #withFaults(reply, session) {
    const fault = reply.fault.bind(reply)
    reply.fault = (action, texts) => {
      if (action.kind === 'crash') return void this.crash()
      if (action.kind === 'session-lost') return this.#loseSession(session, reply)
      fault(action, texts)
    }
    return reply
  }

  #loseSession(session, reply) {
    if (session) this.#end(session, 'dropped')
    reply.refuse(404, -32001, 'Session not found')
  }

  // ---- GET and DELETE ------------------------------------------------------------------------------------

  #get(session, req, res, reply) {
    if (this.core.script.getStream === false) return this.#notAllowed(reply)
    const peer = this.#sessions.get(session)
    if (!peer) return reply.refuse(session ? 404 : 400, -32001, 'Session not found')
    if (!(req.headers.accept ?? '').includes('text/event-stream')) {
      return reply.refuse(406, -32000, 'Not Acceptable: accept text/event-stream')
    }
    if (this.#streams.has(session)) return reply.refuse(409, -32000, 'Conflict: one stream per session')
    res.writeHead(200, { 'content-type': 'text/event-stream', 'mcp-session-id': session })
    res.flushHeaders()
    this.#streams.set(session, res)
    this.#record({ kind: 'stream', session })
    res.on('close', () => {
      if (this.#streams.get(session) === res) this.#streams.delete(session)
    })
  }

  #delete(session, reply) {
    if (!this.#sessions.has(session)) return reply.refuse(session ? 404 : 400, -32001, 'Session not found')
    this.#end(session, 'delete')
    reply.plain(200, {}, '')
  }

  #end(session, how) {
    const peer = this.#sessions.get(session)
    if (!peer) return
    this.core.dropPeer(peer)
    this.#sessions.delete(session)
    this.#streams.get(session)?.end()
    this.#record({ kind: 'session-end', session, how })
  }

  #broken(res, thrown) {
    this.#record({ kind: 'fault-of-the-fake', message: String(thrown?.stack ?? thrown) })
    res.destroy()
  }
}
