/** A line in a chart: points in units of the axes, in rising order of x. */
export type Line = {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
  color: string;
  style?: 'dashed' | 'thin' | 'area' | 'steps';
};

/** A line from bottom to top, with its name beside it. */
export type Mark = { name: string; x: number };

export type Chart = {
  title: string;
  xLabel: string;
  yLabel: string;
  lines: readonly Line[];
  marks?: readonly Mark[];
  /** Top of the y axis; by default as high as the lines. */
  yMax?: number;
};

const WIDTH = 820;
const HEIGHT = 300;
const PAD = { left: 64, right: 16, top: 16, bottom: 44 };
const TICKS_WANTED = 6;
const LEGEND_MAX = 6;
/** Names of lines that stand close together are written below each other. */
const MARK_ROW = 16;

type Scale = { x: (value: number) => string; y: (value: number) => string };

/** An SVG element with one chart. Everything in it is drawn here: no script, nothing loaded. */
export function renderChart(chart: Chart): string {
  const all = chart.lines.flatMap(({ points }) => points);
  const marks = chart.marks ?? [];
  const xMax = Math.max(1e-9, ...all.map(([x]) => x), ...marks.map(({ x }) => x));
  const yMax = chart.yMax ?? Math.max(1e-9, ...all.map(([, y]) => y));
  const scale: Scale = {
    x: (value) => (PAD.left + (value / xMax) * (WIDTH - PAD.left - PAD.right)).toFixed(1),
    y: (value) =>
      (HEIGHT - PAD.bottom - (value / yMax) * (HEIGHT - PAD.top - PAD.bottom)).toFixed(1),
  };
  const parts = [
    ...ticks(yMax).map((value) => yTick(value, scale)),
    ...ticks(xMax).map((value) => xTick(value, scale)),
    ...chart.lines.map((line) => drawLine(line, scale)),
    ...marks.map((mark, row) => drawMark(mark, row, scale)),
    text(chart.xLabel, { x: String(WIDTH / 2), y: String(HEIGHT - 6), anchor: 'middle' }),
    `<text transform="translate(14 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">` +
      `${escape(chart.yLabel)}</text>`,
  ];
  const svg =
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(chart.title)}">` +
    `${parts.join('\n')}</svg>`;
  return `<figure><h2>${escape(chart.title)}</h2>${legend(chart)}${svg}</figure>`;
}

/** Text that means nothing to HTML. */
export function escape(raw: string): string {
  const names: Record<string, string> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot' };
  return raw.replaceAll(/[&<>"]/g, (char) => `&${names[char]};`);
}

/** Round numbers from 0 to `max`. */
function ticks(max: number): number[] {
  const rough = max / TICKS_WANTED;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? rough;
  return Array.from({ length: Math.floor(max / step) + 1 }, (_, index) => index * step);
}

function drawLine({ name, points, color, style }: Line, scale: Scale): string {
  const corners = style === 'steps' ? stepped(points) : points;
  const path = corners
    .map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${scale.x(x)} ${scale.y(y)}`)
    .join('');
  const title = `<title>${escape(name)}</title>`;
  if (style === 'area') {
    const end = scale.x(corners.at(-1)?.[0] ?? 0);
    const start = scale.x(corners[0]?.[0] ?? 0);
    const closed = `${path}L${end} ${scale.y(0)}L${start} ${scale.y(0)}Z`;
    return `<path d="${closed}" fill="${color}" stroke="none">${title}</path>`;
  }
  const dash = style === 'dashed' ? ' stroke-dasharray="6 4"' : '';
  const width = style === 'thin' ? 0.8 : 2;
  const stroke = `stroke="${color}" stroke-width="${width}"${dash}`;
  return `<path d="${path}" fill="none" ${stroke}>${title}</path>`;
}

function stepped(points: Line['points']): [number, number][] {
  return points.flatMap(([x, y], index): [number, number][] => {
    const before = points[index - 1];
    const corner: [number, number][] = before ? [[x, before[1]]] : [];
    return [...corner, [x, y]];
  });
}

function drawMark({ name, x }: Mark, row: number, scale: Scale): string {
  const at = scale.x(x);
  const isRight = Number(at) > WIDTH * 0.7;
  const label = {
    x: String(Number(at) + (isRight ? -5 : 5)),
    y: String(PAD.top + 10 + row * MARK_ROW),
  };
  return (
    `<line class="mark" x1="${at}" x2="${at}" y1="${PAD.top}" y2="${HEIGHT - PAD.bottom}"/>` +
    text(name, { ...label, anchor: isRight ? 'end' : 'start' })
  );
}

function yTick(value: number, scale: Scale): string {
  const y = scale.y(value);
  const label = { x: String(PAD.left - 6), y: String(Number(y) + 4), anchor: 'end' };
  return (
    `<line class="grid" x1="${PAD.left}" x2="${WIDTH - PAD.right}" y1="${y}" y2="${y}"/>` +
    text(shortNumber(value), label)
  );
}

function xTick(value: number, scale: Scale): string {
  const y = String(HEIGHT - PAD.bottom + 16);
  return text(shortNumber(value), { x: scale.x(value), y, anchor: 'middle' });
}

function shortNumber(value: number): string {
  return String(Number(value.toPrecision(4)));
}

function text(content: string, at: { x: string; y: string; anchor: string }): string {
  return `<text x="${at.x}" y="${at.y}" text-anchor="${at.anchor}">${escape(content)}</text>`;
}

function legend({ lines }: Chart): string {
  const shown = lines.filter(({ style }) => style !== 'thin').slice(0, LEGEND_MAX);
  const items = shown.map(
    ({ name, color }) => `<li><i style="background:${color}"></i>${escape(name)}</li>`,
  );
  return `<ul>${items.join('')}</ul>`;
}
