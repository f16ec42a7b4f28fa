// Runs one tool call: its scripted steps, then its result.
import { toolsOf } from './catalog.mjs'
import { META, RpcError } from './protocol.mjs'
import { rawAt } from './raw-json.mjs'

/** What each question to the client needs it to have declared. */
const NEEDS = {
  'sampling/createMessage': 'sampling',
  'elicitation/create': 'elicitation',
  'roots/list': 'roots',
}

/** Raw result of one `tools/call`. */
export async function runTool(server, call) {
  const { name } = call.message.params ?? {}
  const tool = toolsOf(server.script).find(candidate => candidate.name === name)
  if (!tool) throw new RpcError(-32602, `Unknown tool: ${name}`)
  // Another round of an input-required call is the same call, not a second one.
  if (call.message.params.inputResponses === undefined) server.countRun(call, name)
  const answers = []
  for (const step of tool.steps ?? []) {
    const required = await runStep(server, call, step, answers)
    if (required) return required
  }
  if (tool.result !== undefined) return tool.result
  if (tool.behaves !== undefined)
    return BEHAVIOURS[tool.behaves](server, call, call.message.params.arguments ?? {})
  return answers.length > 0 ? answersResult(answers) : textResult(`${name} of ${server.name}`)
}

const BEHAVIOURS = {
  echo: (_, { raw }) => {
    const args = rawAt(raw, 'params', 'arguments') ?? '{}'
    return `{"content":[{"type":"text","text":${JSON.stringify(args)}}],"structuredContent":${args}}`
  },
  count: (server, call) => textResult(String(server.runs(call.message.params.name))),
  sleep: async (server, call, { ms = 1_000 }) => {
    await server.pause(ms, call.signal)
    return textResult(`slept ${ms} ms`)
  },
  whoami: (server, call) => textResult(JSON.stringify(describeCaller(server, call))),
  fail: () => `{"content":[{"type":"text","text":"it failed"}],"isError":true}`,
  progress: async (server, call, { n = 3, ms = 0, gate, after = 0 }) => {
    for (let done = 1; done <= n; done++) {
      await (gate ? server.passGate(gate, call.signal) : server.pause(ms, call.signal))
      sendProgress(call, done, n)
    }
    await server.pause(after, call.signal)
    return textResult(`${n} steps`)
  },
  log: (server, call, { level = 'info', data = 'hello' }) => {
    sendLog(server, call, level, data)
    return textResult('logged')
  },
  ask: async (server, call, { method = 'sampling/createMessage', params = DEFAULT_ASK[method] }) => {
    const answers = []
    return (await runStep(server, call, { ask: { method, params } }, answers)) ?? answersResult(answers)
  },
  big: (_, __, { bytes = 1_000_000 }) => textResult('x'.repeat(bytes)),
  exit: async (server, _, { code = 1, signal }) => {
    server.crash({ code, signal })
    return new Promise(() => {})
  },
  announce: (server, _, { kind = 'tools' }) => {
    server.announce(kind)
    return textResult('announced')
  },
}

const DEFAULT_ASK = {
  'sampling/createMessage': {
    messages: [{ role: 'user', content: { type: 'text', text: 'hello?' } }],
    maxTokens: 10,
  },
  'elicitation/create': {
    message: 'who?',
    requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
  },
  'roots/list': {},
}

/** Runs one step; a string is a result that ends the call at once. */
async function runStep(server, call, step, answers) {
  if (step.sleep !== undefined) await server.pause(step.sleep, call.signal)
  if (step.wait !== undefined) await server.passGate(step.wait, call.signal)
  if (step.stderr !== undefined) process.stderr.write(`${step.stderr}\n`)
  if (step.stderrBytes !== undefined) await shout(step.stderrBytes)
  if (step.say !== undefined) {
    const token = rawAt(call.raw, 'params', '_meta', 'progressToken') ?? 'null'
    call.io.send(step.say.replaceAll('$TOKEN', token))
  }
  if (step.announce !== undefined) server.announce(step.announce)
  if (step.updated !== undefined) server.updated(step.updated)
  if (step.log !== undefined) sendLog(server, call, step.log.level ?? 'info', step.log.data)
  if (step.progress !== undefined) {
    for (let done = 1; done <= step.progress; done++) {
      if (step.everyMs) await server.pause(step.everyMs, call.signal)
      sendProgress(call, done, step.progress)
    }
  }
  if (step.notify !== undefined) call.io.send(notification(step.notify.method, step.notify.params))
  return step.ask === undefined ? null : ask(server, call, step.ask, answers)
}

async function ask(server, call, { method, params }, answers) {
  const need = NEEDS[method]
  const declared = call.capabilities ?? {}
  if (call.era === 'modern') {
    const key = `ask${answers.length + 1}`
    const given = rawAt(call.raw, 'params', 'inputResponses', key)
    if (given !== undefined) {
      answers.push(given)
      return null
    }
    if (need && declared[need] === undefined) {
      throw new RpcError(-32021, `The client does not declare ${need}`, {
        data: { requiredCapabilities: { [need]: {} } },
        status: 400,
      })
    }
    const round = answers.length + 1
    return JSON.stringify({
      resultType: 'input_required',
      inputRequests: { [key]: { method, params: params ?? {} } },
      requestState: `state-${server.name}-${round}`,
    })
  }
  if (need && declared[need] === undefined) {
    return `{"content":[{"type":"text","text":"the client does not support ${need}"}],"isError":true}`
  }
  answers.push(await server.askClient(call, method, params))
  return null
}

function answersResult(answers) {
  return `{"content":[{"type":"text","text":${JSON.stringify(answers.join(' '))}}],"structuredContent":{"answers":[${answers.join(',')}]}}`
}

function textResult(text) {
  return JSON.stringify({ content: [{ type: 'text', text }] })
}

function notification(method, params) {
  return JSON.stringify({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) })
}

function sendProgress(call, progress, total) {
  const token = rawAt(call.raw, 'params', '_meta', 'progressToken')
  if (token === undefined) return
  call.io.send(
    `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":${progress},"total":${total},"message":"step ${progress}"}}`,
  )
}

const SHOUT = `${'x'.repeat(127)}\n`.repeat(512)

/** In turns, so that other calls are served meanwhile. */
async function shout(bytes) {
  for (let said = 0; said < bytes; said += SHOUT.length) {
    process.stderr.write(SHOUT)
    await new Promise(setImmediate)
  }
}

function sendLog(server, call, level, data) {
  if (call.era === 'modern' && call.message.params._meta[META.logLevel] === undefined) return
  call.io.send(notification('notifications/message', { level, logger: server.name, data }))
}

function describeCaller(server, { era, peer, message, io, capabilities }) {
  const meta = message.params._meta ?? {}
  return {
    server: server.name,
    pid: process.pid,
    session: peer?.session ?? null,
    era,
    version: era === 'modern' ? meta[META.version] : (peer?.version ?? null),
    clientInfo: era === 'modern' ? (meta[META.clientInfo] ?? null) : (peer?.clientInfo ?? null),
    capabilities: capabilities ?? {},
    meta,
    headers: io.headers ?? {},
  }
}
