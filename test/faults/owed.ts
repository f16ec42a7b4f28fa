/**
 * Tests of behaviour that is specified and not built yet: `ID title` of each, with what it waits for. They are skipped;
 * whoever builds it takes the line away.
 */
export const OWED: Readonly<Record<string, string>> = {
  // log.test.ts
  'F01 tells of a death and its cause although the restart comes at once':
    'a line of the log for a death that is followed by a restart at once',
  // lazy-restart.test.ts
  'F02 with exit code 0 while idle and lazy: started by the next call alone, and listed all the time':
    'a lazy server that is left alone after it ended while idle',
  // handshake.test.ts
  'F06 at once takes its time to come up: whatever its era, the calls that waited for it succeed':
    'an answer to the era probe that counts although it comes after 2 s',
  // leftovers.test.ts
  'F16 is ended when the gateway is started again, and no other process is': 'the ledger of process groups',
  // misbehaviour.test.ts
  'F07 by a thousand lines in a row that are no messages is started anew': 'the garbage budget',
  'F10 by one line of 100 MB fails the call that it was the answer to, as too large':
    'the id of a message that is too large',
  'F12 because it has not read its stdin for 30 s is started anew, and what it never got is sent there':
    'the watch over stuck stdin',
  'F13 by closing its stdin loses no call: what it could not get is sent to the new process':
    'a write to a closed pipe that counts as never sent',
  'F17 by an answer to nobody on the stream of a call spoils not even that call':
    'stray answers that are dropped on streams of their own, too',
  'F24 by ten thousand notifications of progress in one call is passed on at ten a second, the last one included':
    'thinned progress',
  'F25 because it visibly goes on with eight cancelled calls is started anew once it is idle':
    'the count of stuck requests',
}
