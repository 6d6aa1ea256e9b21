/**
 * A decimal such as `1.005` times a whole number, without the rounding of doubles: the product if
 * it is a whole number, else NaN.
 */
export function timesExactly(decimal: string, factor: number): number {
  const match = /^(\d+)(?:\.(\d+))?$/.exec(decimal);
  if (!match || !Number.isSafeInteger(factor)) return Number.NaN;
  const [, whole = '', part = ''] = match;
  const product = BigInt(whole + part) * BigInt(factor);
  const scale = 10n ** BigInt(part.length);
  return product % scale === 0n ? Number(product / scale) : Number.NaN;
}
