import { formatByteSize } from '../../proto/std/byte-size.ts';

/** What the bench measured; medians over the rounds. Absent without nginx: NaN. */
export type Figures = {
  senderCpuSecondsPerGB: number;
  receiverCpuSecondsPerGB: number;
  /** Against the TLS sender alone. */
  senderRatioToParts: number;
  /** Against TLS receiver, SHA-256, file write and HTTP server, each alone, added up. */
  receiverRatioToParts: number;
  /** Against a program that receives over plain TCP, hashes, writes and serves, and no more. */
  ratioToPlainTcp: number;
  ratioToStockLibp2p: number;
  ratioToStockLibp2pWithFlags: number;
  /** Against a Node.js program that sends the file from two buffers in turns, and no more. */
  warmCpuRatioToRing: number;
  /** nginx has the kernel send the file (sendfile), which Node.js cannot ask for. */
  warmCpuRatioToNginx: number;
  warmRateRatioToNginx: number;
  /** With 50 peers, against a libp2p host with 50 connections. */
  idleRssAboveBareLibp2pBytes: number;
  peakRssBytes: number;
};

const LINES: readonly [key: keyof Figures, text: string][] = [
  ['senderCpuSecondsPerGB', 'CPU seconds per GB, sender'],
  ['receiverCpuSecondsPerGB', 'CPU seconds per GB, receiver'],
  ['senderRatioToParts', 'sender, times the CPU of its parts'],
  ['receiverRatioToParts', 'receiver, times the CPU of its parts'],
  ['ratioToPlainTcp', 'rate, times that of the same path over plain TCP'],
  ['ratioToStockLibp2p', 'rate, times that of libp2p streams without V8 flags'],
  ['ratioToStockLibp2pWithFlags', 'rate, times that of libp2p streams'],
  ['warmCpuRatioToRing', 'warm layer, times the CPU of a bare Node.js program that sends it'],
  ['warmCpuRatioToNginx', 'warm layer, times the CPU of nginx with sendfile'],
  ['warmRateRatioToNginx', 'warm layer, times the rate of nginx'],
  ['idleRssAboveBareLibp2pBytes', 'idle memory with 50 peers above a bare libp2p host'],
  ['peakRssBytes', 'highest resident memory with four readers'],
];

/** The figures for people. */
export function renderFigures(figures: Figures): string {
  return LINES.map(([key, text]) => {
    const value = figures[key];
    const shown = key.endsWith('Bytes') ? formatByteSize(value) : value.toFixed(2);
    return `${shown.padStart(12)}  ${text}`;
  }).join('\n');
}
