import { formatByteSize } from '../../proto/std/byte-size.ts';

/** Figures of one agent, read from its own metrics when its pull had ended. */
export type AgentFigures = {
  name: string;
  hubBytes: number;
  peerBytes: number;
  chunksVerified: number;
  chunksRejected: number;
  seconds: number;
};

/** What `--json` writes. `copies` is what left the hub in units of the image. */
export type DemoFigures = {
  agents: number;
  imageBytes: number;
  hubBytes: number;
  peerBytes: number;
  copies: number;
  chunksVerified: number;
  chunksRejected: number;
  seconds: number;
};

/** Adds the agents' figures up; `hubBytes` is what the hub itself says it sent. */
export function summarise(
  agents: readonly AgentFigures[],
  measured: { imageBytes: number; hubBytes: number },
): DemoFigures {
  const total = (pick: (a: AgentFigures) => number): number =>
    agents.reduce((sum, agent) => sum + pick(agent), 0);
  return {
    agents: agents.length,
    imageBytes: measured.imageBytes,
    hubBytes: measured.hubBytes,
    peerBytes: total((a) => a.peerBytes),
    copies: measured.hubBytes / measured.imageBytes,
    chunksVerified: total((a) => a.chunksVerified),
    chunksRejected: total((a) => a.chunksRejected),
    seconds: Math.max(...agents.map((a) => a.seconds)),
  };
}

/** The closing table as plain text. */
export function renderTable(agents: readonly AgentFigures[], sum: DemoFigures): string {
  const rows = [
    ['agent', 'from hub', 'from peers', 'chunks verified', 'rejected', 'seconds'],
    ...agents.map((a) => [
      a.name,
      formatByteSize(a.hubBytes),
      formatByteSize(a.peerBytes),
      String(a.chunksVerified),
      String(a.chunksRejected),
      a.seconds.toFixed(1),
    ]),
  ];
  const widths = rows[0]?.map((_, col) => Math.max(...rows.map((r) => r[col]?.length ?? 0))) ?? [];
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('   '),
  );
  const sent = formatByteSize(sum.hubBytes);
  const image = formatByteSize(sum.imageBytes);
  const copies = sum.copies.toFixed(2);
  const pulls = sum.agents === 1 ? '1 pull' : `${sum.agents} pulls`;
  const last = `The hub sent ${sent} for ${pulls} of ${image}: ${copies} copies.`;
  return [...lines, '', last].join('\n');
}
