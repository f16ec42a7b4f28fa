import type { Gateway, Result } from '../library.js'
import { isGatewayError } from '../model/index.js'
import { findRunning, withOwnGateway } from './catalog-source.js'
import { CommandFailure, EXIT } from './exit.js'
import { callOver } from './mcp-call.js'
import type { RemoteOptions } from './remote.js'
import { interruptible } from './stop-signals.js'
import { print, say, type TalkOptions } from './talk.js'

export interface CallCommandOptions extends TalkOptions, RemoteOptions {}

const INTERRUPTED = 'The call was interrupted; it may have run.'

/** Calls one tool and prints what it says. Exit 1 when the tool or the call failed. */
export async function call(
  tool: string,
  words: readonly string[],
  options: CallCommandOptions,
): Promise<number> {
  const args = parseArguments(words)
  const base = await findRunning(options)
  const result = base
    ? await interruptible(INTERRUPTED, signal => callOver(`${base}/mcp`, tool, args, signal))
    : await withOwnGateway(options, INTERRUPTED, (gateway, signal) => callDirect(gateway, tool, args, signal))
  if (options.json) print(JSON.stringify(result, null, 2))
  else printResult(result)
  return result['isError'] === true ? EXIT.failed : EXIT.ok
}

async function callDirect(
  gateway: Gateway,
  tool: string,
  args: Result,
  signal: AbortSignal,
): Promise<Result> {
  try {
    const onProgress = ({ message }: { message?: string }) => message && say(message)
    return await gateway.callTool(tool, args, { signal, onProgress })
  } catch (thrown) {
    if (!isGatewayError(thrown)) throw thrown
    const code = thrown.kind === 'unavailable' ? EXIT.unreachable : EXIT.failed
    throw new CommandFailure(thrown.kind === 'misconfigured' ? EXIT.config : code, thrown.message)
  }
}

/** One JSON object, or `key=value` words; a value that is JSON is taken as JSON, anything else as a string. */
export function parseArguments(words: readonly string[]): Result {
  const [first] = words
  if (words.length === 1 && first?.trimStart().startsWith('{')) return parseObject(first)
  const args: Result = {}
  for (const word of words) {
    const at = word.indexOf('=')
    if (at < 1) throw new CommandFailure(EXIT.usage, `"${word}" is neither a JSON object nor key=value.`)
    Object.defineProperty(args, word.slice(0, at), {
      value: parseValue(word.slice(at + 1)),
      enumerable: true,
    })
  }
  return args
}

function parseObject(text: string): Result {
  try {
    return JSON.parse(text) as Result
  } catch (cause) {
    throw new CommandFailure(EXIT.usage, `The arguments are not valid JSON: ${(cause as Error).message}`)
  }
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function printResult(result: Result): void {
  const content = Array.isArray(result['content']) ? (result['content'] as Result[]) : []
  for (const item of content) {
    if (item['type'] === 'text') print(String(item['text']))
    else print(JSON.stringify(item))
  }
  if (content.length === 0) print(JSON.stringify(result['structuredContent'] ?? result, null, 2))
}
