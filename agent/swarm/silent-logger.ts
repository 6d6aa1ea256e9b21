import type { ComponentLogger, Logger } from '@libp2p/interface';

// libp2p makes a logger for every stream and formats every frame for it; one shared logger that
// does nothing is measurably cheaper than the default one with nothing enabled.
const silent: Logger = Object.assign(() => {}, {
  error: () => {},
  trace: () => {},
  enabled: false,
  newScope: () => silent,
});

/** The logger handed to libp2p. What operators need to know is logged by our own modules. */
export const silentLogger: ComponentLogger = { forComponent: () => silent };
