import { setImmediate } from 'node:timers/promises'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { stackOf } from '../model/index.js'
import { VERSION } from '../version.js'
import type { ActOptions } from './act.js'
import { type AddOptions, add } from './add.js'
import { approve } from './approve.js'
import { type CallCommandOptions, call } from './call.js'
import { type CheckOptions, check } from './check.js'
import { disable } from './disable.js'
import type { EditOptions } from './edit-config.js'
import { enable } from './enable.js'
import { CommandFailure, EXIT } from './exit.js'
import { type LogsOptions, logs } from './logs.js'
import { refresh } from './refresh.js'
import { type ReloadOptions, reload } from './reload.js'
import { remove } from './remove.js'
import { restart } from './restart.js'
import type { SwitchOptions } from './save-switch.js'
import { type ServeOptions, serve } from './serve.js'
import { type StatusOptions, status } from './status.js'
import { type StdioOptions, stdio } from './stdio.js'
import { say, surviveReaders } from './talk.js'
import { type TestCommandOptions, test } from './test.js'
import { type ToolsOptions, tools } from './tools.js'

/** Runs one command line; resolves with the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  const missing = surviveReaders()
  const exitCode = await runCommand(argv)
  // The last output may fail only now.
  await setImmediate()
  const fault = missing()
  if (fault === null) return exitCode
  say(`holdfast: the output cannot be written: ${fault}`)
  return exitCode === EXIT.ok ? EXIT.failed : exitCode
}

async function runCommand(argv: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.ok
  const program = build(argv, code => {
    exitCode = code
  })
  try {
    await program.parseAsync(argv, { from: 'user' })
    return exitCode
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage
    if (thrown instanceof CommandFailure) {
      say(`holdfast: ${thrown.message}`)
      return thrown.exitCode
    }
    say(`holdfast: unexpected fault: ${stackOf(thrown)}`)
    return EXIT.failed
  }
}

function build(argv: readonly string[], done: (exitCode: number) => void): Command {
  const program = new Command('holdfast')
    .description("The MCP gateway that stays up when your servers don't.")
    .version(VERSION)
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ writeErr: text => process.stderr.write(text) })
  addServe(program, done)
  addStdio(program, done)
  addCheck(program, done)
  addTest(program, done)
  addStatus(program, done)
  addLogs(program, done)
  addTools(program, done)
  addCall(program, done)
  addActions(program, done)
  addEdits(program, argv, done)
  return program
}

/** The options that every command takes. */
function command(program: Command, name: string, description: string, isDefault = false): Command {
  return program
    .command(name, { isDefault })
    .description(description)
    .exitOverride()
    .option(
      '-c, --config <file>',
      'config file (default: HOLDFAST_CONFIG, ./holdfast.*, ./.mcp.json, user folder)',
    )
    .option('-q, --quiet', 'say only what matters')
}

const URL_OPTION = ['-u, --url <url>', 'a running gateway (default: the address in the config)'] as const

function addServe(program: Command, done: (exitCode: number) => void): void {
  command(program, 'serve', 'run the gateway (default command)', true)
    .option('--host <address>', 'address to listen on')
    .addOption(
      new Option('-p, --port <number>', 'port to listen on; 0 picks a free one').argParser(parsePort),
    )
    .option('--strict', 'do not start while any server has a faulty entry')
    .option('--no-watch', 'do not take over changes of the config file while it runs')
    .option('--json', 'first line on stdout: {"event":"ready","url":...}; log lines as JSON on stderr')
    .action(async (options: ServeOptions) => done(await serve(options)))
}

function addStdio(program: Command, done: (exitCode: number) => void): void {
  command(program, 'stdio', 'run the gateway as a stdio MCP server')
    .option('-u, --url <url>', 'bridge stdin and stdout to a gateway that is running at this /mcp URL')
    .option('--strict', 'do not start while any server has a faulty entry')
    .option('--no-watch', 'do not take over changes of the config file while it runs')
    .action(async (options: StdioOptions) => done(await stdio(options)))
}

function addCheck(program: Command, done: (exitCode: number) => void): void {
  command(program, 'check [file]', 'validate a config without running it: every fault at once')
    .option('--json', 'machine-readable')
    .action(async (file: string | undefined, options: CheckOptions) => done(await check(file, options)))
}

function addTest(program: Command, done: (exitCode: number) => void): void {
  command(program, 'test [server]', 'connect to a server and list its tools, beside whatever runs')
    .option(...URL_OPTION)
    .option('-a, --all', 'every configured server')
    .addOption(
      new Option('-t, --timeout <ms>', 'milliseconds for one try')
        .default(5_000)
        .argParser(wholeNumber(1, 600_000)),
    )
    .addOption(new Option('-r, --retries <n>', 'tries in all').default(3).argParser(wholeNumber(1, 10)))
    .option('--json', 'machine-readable')
    .action(async (name: string | undefined, options: TestCommandOptions) => done(await test(name, options)))
}

function addStatus(program: Command, done: (exitCode: number) => void): void {
  command(program, 'status [server]', 'what is up, what is down, since when and why')
    .option(...URL_OPTION)
    .option('-w, --watch', 'again every second')
    .option('--json', 'machine-readable')
    .action(async (name: string | undefined, options: StatusOptions) => done(await status(name, options)))
}

function addLogs(program: Command, done: (exitCode: number) => void): void {
  command(program, 'logs <server>', 'what a server wrote to stderr')
    .option(...URL_OPTION)
    .option('-f, --follow', 'go on with each new line')
    .option('--json', 'machine-readable')
    .action(async (name: string, options: LogsOptions) => done(await logs(name, options)))
}

function addTools(program: Command, done: (exitCode: number) => void): void {
  command(program, 'tools [server]', 'list the tools of all servers, or of one')
    .option(...URL_OPTION)
    .option('--json', 'machine-readable')
    .action(async (name: string | undefined, options: ToolsOptions) => done(await tools(name, options)))
}

function addCall(program: Command, done: (exitCode: number) => void): void {
  command(program, 'call <tool> [arguments...]', 'call a tool; arguments as one JSON object or as key=value')
    .option(...URL_OPTION)
    .option('--json', 'the whole result as JSON')
    .action(async (tool: string, words: string[], options: CallCommandOptions) =>
      done(await call(tool, words, options)),
    )
}

function addActions(program: Command, done: (exitCode: number) => void): void {
  const actions = [
    ['restart', restart, 'end a server, forget its failures and start it anew'],
    ['refresh', refresh, 'fetch the lists of a server again'],
  ] as const
  for (const [name, run, description] of actions) {
    command(program, `${name} <server>`, description)
      .option(...URL_OPTION)
      .option('--json', 'how it stands then, machine-readable')
      .action(async (server: string, options: ActOptions) => done(await run(server, options)))
  }
  command(program, 'reload', 'make a running gateway read its config file again')
    .option(...URL_OPTION)
    .option('--dry-run', 'show what would change, and change nothing')
    .option('--json', 'machine-readable')
    .action(async (options: ReloadOptions) => done(await reload(options)))
  const switches = [
    ['enable', enable, 'take a disabled server back in and start it'],
    ['disable', disable, 'end a server and refuse calls to it, until the gateway ends'],
  ] as const
  for (const [name, run, description] of switches) {
    command(program, `${name} <server>`, description)
      .option(...URL_OPTION)
      .option('--save', 'write it into the config file too; works without a running gateway')
      .option('--json', 'how it stands then, machine-readable')
      .action(async (server: string, options: SwitchOptions) => done(await run(server, options)))
  }
  command(program, 'approve <server> [tools...]', 'take tools and prompts as they are described now')
    .option(...URL_OPTION)
    .option('--json', 'how it stands then, machine-readable')
    .action(async (server: string, tools: string[], options: ActOptions) =>
      done(await approve(server, tools, options)),
    )
}

function addEdits(program: Command, argv: readonly string[], done: (exitCode: number) => void): void {
  const dashes = argv.indexOf('--')
  const behind = dashes < 0 ? null : argv.slice(dashes + 1)
  command(program, 'add <server> [target...]', 'write a server into the config file')
    .usage('[options] <server> (URL | -- PROGRAM ARGUMENTS...)')
    .option('--env <NAME=VALUE>', 'a variable for the program; may be repeated', collect)
    .option('--header <NAME:VALUE>', 'a header for the remote server; may be repeated', collect)
    .option('--prefix <prefix>', 'put before its names, instead of its own name; "" = none')
    .option('--lazy', 'start it at first use')
    .option('--dry-run', 'show what would change, and change nothing')
    .action(async (server: string, target: string[], options: AddOptions) => {
      // The name, too, may turn out to be a word of the program.
      const [name = '', ...words] = [server, ...target].slice(0, 1 + target.length - (behind?.length ?? 0))
      done(await add(name, words, behind, options))
    })
  command(program, 'remove <server>', 'take a server out of the config file')
    .option('--dry-run', 'show what would change, and change nothing')
    .action(async (server: string, options: EditOptions) => done(await remove(server, options)))
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

function wholeNumber(least: number, most: number): (text: string) => number {
  return text => {
    const number = Number(text)
    if (Number.isInteger(number) && number >= least && number <= most) return number
    throw new InvalidArgumentError(`It is not a whole number from ${least} to ${most}.`)
  }
}

function parsePort(text: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new InvalidArgumentError('It is not a port number from 0 to 65535.')
}
