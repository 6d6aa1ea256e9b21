import { unwatchFile, watchFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { Logger } from '../../proto/ops/logger.ts';

export type CertificateFiles = { certFile: string; keyFile: string };
export type CertificatePair = { cert: Buffer; key: Buffer };

/**
 * Reads a PEM certificate chain and its key.
 * @throws errors of node:fs and node:tls, the latter also when the two do not belong together
 */
export async function readCertificate(files: CertificateFiles): Promise<CertificatePair> {
  const [cert, key] = await Promise.all([readFile(files.certFile), readFile(files.keyFile)]);
  createSecureContext({ cert, key });
  return { cert, key };
}

/**
 * Calls `renewed` with the new pair each time one of the files has changed and both fit together.
 * Files are written one after the other, so a pair that does not fit is one that is not finished:
 * the old one stays until the next change.
 */
export function watchCertificate(
  options: CertificateFiles & { pollMs: number },
  modules: { renewed: (pair: CertificatePair) => void; logger: Logger },
): Disposable {
  const { renewed, logger } = modules;
  const reload = async (): Promise<void> => {
    try {
      renewed(await readCertificate(options));
      logger.info({ certFile: options.certFile }, 'new certificate in use');
    } catch (err) {
      logger.warn({ err }, 'the new certificate and key are not usable, the old ones stay');
    }
  };
  const changed = (): void => void reload();
  const files = [options.certFile, options.keyFile];
  for (const file of files) {
    watchFile(file, { interval: options.pollMs, persistent: false }, changed);
  }
  return {
    [Symbol.dispose]: () => {
      for (const file of files) unwatchFile(file, changed);
    },
  };
}
