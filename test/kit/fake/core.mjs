// The fake server without any transport: eras, methods, faults, records.
import { setTimeout as delay } from 'node:timers/promises'
import { capabilitiesOf, getPrompt, listPage, offers, readResource } from './catalog.mjs'
import { isInstead, matchingFaults, OF_TRANSPORT, spoil } from './faults.mjs'
import { Gates } from './gates.mjs'
import {
  CACHEABLE,
  CHANGED,
  eraOf,
  FOREIGN,
  LEGACY_VERSIONS,
  LISTS,
  META,
  MODERN_VERSION,
  RpcError,
} from './protocol.mjs'
import { rawAt, rawMember, withMembers } from './raw-json.mjs'
import { runTool } from './tools.mjs'

export class FakeServer {
  #counts = new Map()
  #runs = new Map()
  #gates = new Gates()
  #running = new Map()
  #peers = new Set()
  #listeners = new Set()

  /**
   * @param script see fake-script.ts
   * @param host `record(entry)`, `crash({code, signal})`, and the number of this spawn
   */
  constructor(script, host) {
    this.script = script
    this.host = host
  }

  get name() {
    return this.script.name ?? 'fake'
  }

  speaks(era) {
    const eras = this.script.eras ?? 'legacy'
    return eras === 'both' || eras === era
  }

  // ---- messages ------------------------------------------------------------------------------------------

  /**
   * Takes one parsed message.
   * @param peer the legacy session or pipe it came on; null in the modern era over HTTP
   * @param io where its answer goes: `send(text)`, `end(texts, status)`, `fault(action, texts)`, `signal`, `headers`
   */
  async receive(raw, message, peer, io) {
    if (message.method === undefined) return this.#settleAsk(raw, message, peer)
    const era = eraOf(message)
    const isRequest = message.id !== undefined
    this.host.record({
      kind: isRequest ? 'request' : 'notification',
      method: message.method,
      ...(isRequest ? { id: message.id } : {}),
      ...(message.method === 'tools/call' ? { tool: message.params?.name } : {}),
      era,
      session: peer?.session ?? null,
      raw,
      params: rawMember(raw, 'params') ?? null,
      ...(io.headers ? { headers: io.headers } : {}),
    })
    if (!isRequest) return this.#notified(message, peer)
    await this.#serve(this.#open(raw, message, era, peer, io))
  }

  /** A request of the era that this server does not speak. True when the script says what happens to it. */
  async playForeign(raw, message, io) {
    const { method, id } = message
    const era = eraOf(message)
    this.host.record({ kind: 'request', method, id, era, session: null, raw, params: null, refused: true })
    const action = (await this.#preludes(this.faults({ on: method, era }), new AbortController().signal))?.do
    if (!action) return false
    if (OF_TRANSPORT.has(action.kind)) io.fault(action, ['{}'])
    else io.end(spoil(action, rawMember(raw, 'id'), '"result":{}'), action.status ?? 200)
    return true
  }

  #open(raw, message, era, peer, io) {
    const controller = new AbortController()
    const idText = rawMember(raw, 'id')
    const key = `${peer?.session ?? io.key ?? ''}#${idText}`
    const capabilities = era === 'modern' ? message.params._meta[META.capabilities] : peer?.capabilities
    const call = {
      raw,
      message,
      era,
      peer,
      io,
      idText,
      key,
      controller,
      signal: controller.signal,
      capabilities,
    }
    this.#running.set(key, call)
    io.signal?.addEventListener('abort', () => this.#disconnected(call), { once: true })
    return call
  }

  async #serve(call) {
    const { io, idText } = call
    try {
      const faults = this.#faultsOf(call)
      const action = await this.#preludes(faults, call.signal)
      const answer = action && isInstead(action) ? { body: '', status: 200 } : await this.#answer(call)
      if (call.signal.aborted) return
      if (!action) io.end([`{"jsonrpc":"2.0","id":${idText},${answer.body}}`], answer.status)
      else if (OF_TRANSPORT.has(action.do.kind)) {
        // A hung request is still running: its cancellation has to be seen.
        if (action.do.kind === 'hang') call.open = true
        io.fault(action.do, [`{"jsonrpc":"2.0","id":${idText},${answer.body}}`])
      } else io.end(spoil(action.do, idText, answer.body), action.do.status ?? 200)
      this.#aftermath(faults)
    } catch (thrown) {
      if (!call.signal.aborted) throw thrown
    } finally {
      if (!call.open) this.#running.delete(call.key)
    }
  }

  #faultsOf({ message, era }) {
    const { method, params } = message
    const tool = method === 'tools/call' ? params?.name : undefined
    return this.faults({ on: method, tool, era, cursor: params?.cursor })
  }

  /** Counts the subject and returns the faults that apply to it. */
  faults(subject) {
    const keys = [subject.on, ...(subject.tool === undefined ? [] : [`${subject.on}:${subject.tool}`])]
    for (const key of keys) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
    return matchingFaults(this.script, { ...subject, spawn: this.host.spawn }, fault =>
      this.#counts.get(fault.tool === undefined ? subject.on : `${subject.on}:${fault.tool}`),
    )
  }

  /** Plays what comes before an answer; returns the one fault that decides about the answer. */
  async #preludes(faults, signal) {
    for (const { do: action } of faults) {
      if (action.kind === 'delay') await this.pause(action.ms, signal)
      if (action.kind === 'stderr') process.stderr.write(`${action.text}\n`)
    }
    return faults.find(({ do: { kind } }) => kind !== 'delay' && kind !== 'stderr' && kind !== 'announce')
  }

  #aftermath(faults) {
    for (const { do: action } of faults) {
      if (action.kind !== 'announce') continue
      if (action.set) this.script = { ...this.script, ...action.set }
      this.announce(action.what)
    }
  }

  async #answer(call) {
    try {
      const result = await this.#result(call)
      return { body: `"result":${call.era === 'modern' ? this.#stamp(call, result) : result}`, status: 200 }
    } catch (thrown) {
      if (!(thrown instanceof RpcError)) throw thrown
      return { body: thrown.body, status: call.era === 'modern' ? thrown.status : 200 }
    }
  }

  #result(call) {
    const { message, era } = call
    const { method, params = {} } = message
    if (!this.speaks(era) || FOREIGN[era].has(method)) throw notFound(method)
    if (LISTS[method]) return listPage(this.script, method, params.cursor)
    switch (method) {
      case 'initialize':
        return this.#initialize(call, params)
      case 'server/discover':
        return this.#discover()
      case 'subscriptions/listen':
        return this.#listen(call, params)
      case 'tools/call':
        return runTool(this, call)
      case 'resources/read':
        return readResource(this.script, params.uri, era)
      case 'prompts/get':
        return getPrompt(this.script, params.name, params.arguments)
      case 'completion/complete':
        return '{"completion":{"values":["alpha","beta"]}}'
      case 'resources/subscribe':
        call.peer.subscriptions.add(params.uri)
        return '{}'
      case 'resources/unsubscribe':
        call.peer.subscriptions.delete(params.uri)
        return '{}'
      case 'ping':
      case 'logging/setLevel':
        return '{}'
      default:
        throw notFound(method)
    }
  }

  #stamp({ message }, result) {
    const cache = CACHEABLE.has(message.method)
      ? [
          ['ttlMs', String(this.script.ttlMs ?? 0)],
          ['cacheScope', '"public"'],
        ]
      : []
    const info = JSON.stringify({ [META.serverInfo]: this.#info() })
    const hints = /"resultType":"input_required"/.test(result) ? [] : cache
    return withMembers(result, [['resultType', '"complete"'], ...hints, ['_meta', info]])
  }

  // ---- handshakes ----------------------------------------------------------------------------------------

  #info() {
    return { name: this.name, version: this.script.version ?? '1.0.0' }
  }

  #initialize(call, params) {
    const versions = this.script.versions ?? LEGACY_VERSIONS
    const version = versions.includes(params.protocolVersion) ? params.protocolVersion : versions[0]
    Object.assign(call.peer, { version, capabilities: params.capabilities, clientInfo: params.clientInfo })
    return JSON.stringify({
      protocolVersion: version,
      capabilities: capabilitiesOf(this.script),
      serverInfo: this.#info(),
      ...(this.script.instructions ? { instructions: this.script.instructions } : {}),
    })
  }

  #discover() {
    return JSON.stringify({
      supportedVersions: this.supported(),
      capabilities: capabilitiesOf(this.script),
      ...(this.script.instructions ? { instructions: this.script.instructions } : {}),
    })
  }

  supported() {
    return [MODERN_VERSION, ...(this.speaks('legacy') ? LEGACY_VERSIONS : [])]
  }

  /** Acknowledges and stays open until the stream is dropped, cancelled, or ended by `endListens`. */
  #listen(call, { notifications = {} }) {
    const honoured = {}
    for (const { filter } of Object.values(CHANGED)) if (notifications[filter]) honoured[filter] = true
    if (notifications.resourceSubscriptions && offers(this.script, 'resources')) {
      honoured.resourceSubscriptions = notifications.resourceSubscriptions
    }
    const send = (method, params) =>
      call.io.send(
        `{"jsonrpc":"2.0","method":"${method}","params":${withMembers(JSON.stringify(params), [
          ['_meta', `{"${META.subscriptionId}":${call.idText}}`],
        ])}}`,
      )
    send('notifications/subscriptions/acknowledged', { notifications: honoured })
    call.open = true
    return new Promise(resolve => {
      const listener = {
        honoured,
        send,
        end: () => {
          call.open = false
          resolve(`{"_meta":{"${META.subscriptionId}":${call.idText}}}`)
        },
      }
      this.#listeners.add(listener)
      call.signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true })
    })
  }

  endListens() {
    for (const listener of this.#listeners) listener.end()
    this.#listeners.clear()
  }

  // ---- the other direction -------------------------------------------------------------------------------

  /** A legacy session or pipe; `send` takes messages that belong to no request. */
  addPeer(session, send) {
    const peer = {
      session,
      send,
      version: null,
      capabilities: {},
      clientInfo: null,
      subscriptions: new Set(),
      asks: new Map(),
      nextAsk: 0,
    }
    this.#peers.add(peer)
    return peer
  }

  dropPeer(peer) {
    this.#peers.delete(peer)
  }

  announce(kind) {
    const { method, filter } = CHANGED[kind]
    for (const peer of this.#peers) if (peer.version) peer.send(`{"jsonrpc":"2.0","method":"${method}"}`)
    for (const { honoured, send } of this.#listeners) if (honoured[filter]) send(method, {})
  }

  say(text) {
    for (const peer of this.#peers) peer.send(text)
  }

  updated(uri) {
    const method = 'notifications/resources/updated'
    for (const peer of this.#peers) {
      if (peer.subscriptions.has(uri)) {
        peer.send(`{"jsonrpc":"2.0","method":"${method}","params":${JSON.stringify({ uri })}}`)
      }
    }
    for (const { honoured, send } of this.#listeners) {
      if (honoured.resourceSubscriptions?.includes(uri)) send(method, { uri })
    }
  }

  /** Sends a server request on the stream of the call; resolves with the raw answer. */
  askClient(call, method, params) {
    const id = call.peer.nextAsk++
    const body = params === undefined ? '' : `,"params":${JSON.stringify(params)}`
    return new Promise((resolve, reject) => {
      call.peer.asks.set(id, resolve)
      call.signal.addEventListener('abort', () => reject(new Error('cancelled')), { once: true })
      call.io.send(`{"jsonrpc":"2.0","id":${id},"method":"${method}"${body}}`)
    })
  }

  #settleAsk(raw, message, peer) {
    this.host.record({ kind: 'response', id: message.id, session: peer?.session ?? null, raw })
    const settle = peer?.asks.get(message.id)
    peer?.asks.delete(message.id)
    settle?.(rawMember(raw, 'result') ?? rawMember(raw, 'error'))
  }

  #notified(message, peer) {
    if (message.method !== 'notifications/cancelled') return
    const { requestId } = message.params ?? {}
    const call = [...this.#running.values()].find(one => one.peer === peer && one.message.id === requestId)
    if (call) this.#cancel(call, 'notification')
  }

  #disconnected(call) {
    if (!this.#running.has(call.key)) return
    if (call.era === 'modern') this.#cancel(call, 'disconnect')
    else this.host.record({ kind: 'disconnected', id: call.message.id, tool: call.message.params?.name })
  }

  #cancel(call, how) {
    this.host.record({
      kind: 'cancelled',
      id: call.message.id,
      method: call.message.method,
      tool: call.message.params?.name,
      how,
    })
    if (this.script.ignoreCancel) return
    call.controller.abort()
    this.#running.delete(call.key)
  }

  // ---- what tools need -----------------------------------------------------------------------------------

  countRun(call, tool) {
    const n = (this.#runs.get(tool) ?? 0) + 1
    this.#runs.set(tool, n)
    this.host.record({ kind: 'run', tool, n, args: rawAt(call.raw, 'params', 'arguments') ?? null })
  }

  runs(tool) {
    return this.#runs.get(tool) ?? 0
  }

  async pause(ms, signal) {
    if (ms > 0) await delay(ms, undefined, { signal })
  }

  passGate(name, signal) {
    return this.#gates.pass(name, signal)
  }

  release(name, times) {
    this.#gates.release(name, times)
  }

  crash(how) {
    this.host.crash(how)
  }
}

function notFound(method) {
  return new RpcError(-32601, `Method not found: ${method}`, { status: 404 })
}
