/**
 * Tests of behaviour that is specified and not built yet: `ID title` of each, with what it waits for. They are skipped;
 * whoever builds it takes the line away.
 */
export const OWED: Readonly<Record<string, string>> = {}
