/** This machine, or this process, has run out of something. It says nothing about the server. */
const LOCAL: Readonly<Record<string, string>> = {
  EMFILE: 'this process has no file descriptors left',
  ENFILE: 'this machine has no file descriptors left',
  EAGAIN: 'this machine has no room for another process',
  ENOMEM: 'this machine has no memory left',
  ENOBUFS: 'this machine has no buffers left',
}

/** In words, what the gateway's own side lacks; null when the fault may be the server's. */
export function localFault(code: string | undefined): string | null {
  const words = code === undefined ? undefined : LOCAL[code]
  return words === undefined ? null : `${words} (${code})`
}
