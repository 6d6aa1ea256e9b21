import { isIP } from 'node:net';
import path from 'node:path';
import { run } from '../rig/processes.ts';

/** Files of a certificate that is its own authority, for these names and addresses. */
export async function makeCertificate(
  folder: string,
  names: readonly string[],
): Promise<{ certFile: string; keyFile: string }> {
  const certFile = path.join(folder, 'upstream.crt');
  const keyFile = path.join(folder, 'upstream.key');
  const also = names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`).join(',');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const subject = ['-subj', '/CN=upstream', '-addext', `subjectAltName=${also}`];
  const files = ['-keyout', keyFile, '-out', certFile];
  await run(['openssl', 'req', '-x509', '-days', '2', ...key, ...subject, ...files]);
  return { certFile, keyFile };
}
