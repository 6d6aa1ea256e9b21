/** What the exit code of the program means; the numbers above 2 are those of sysexits.h. */
export const EXIT = {
  ok: 0,
  failure: 1,
  /** The command line was not understood. */
  usage: 2,
  /** The hub could not be reached, or (from the launcher) Node.js is missing or too old. */
  unavailable: 69,
  /** The configuration is not valid or cannot be read. */
  config: 78,
} as const;
