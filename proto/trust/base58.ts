const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const BASE = 58n;

/** Base58 with Bitcoin's alphabet, the text form of peer ids. Meant for short inputs. */
export function encodeBase58(bytes: Uint8Array): string {
  let value = 0n;
  for (const byte of bytes) value = value * 256n + BigInt(byte);
  let text = '';
  for (; value > 0n; value /= BASE) text = (ALPHABET[Number(value % BASE)] ?? '') + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return ALPHABET.charAt(0).repeat(zeros === -1 ? bytes.length : zeros) + text;
}

/** Inverse of encodeBase58; undefined for text with other characters. */
export function decodeBase58(text: string): Buffer | undefined {
  let value = 0n;
  for (const char of text) {
    const digit = ALPHABET.indexOf(char);
    if (digit === -1) return undefined;
    value = value * BASE + BigInt(digit);
  }
  const hex = value === 0n ? '' : value.toString(16);
  const zeros = text.search(/[^1]/);
  return Buffer.concat([
    Buffer.alloc(zeros === -1 ? text.length : zeros),
    Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex'),
  ]);
}
