import type { Logger } from '../../proto/ops/logger.ts';
import { cardTraffic, linkCard, type LinkCard } from '../../proto/ops/link-speed.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { RateBudget } from '../../proto/std/rate-budget.ts';
import { LINK_LOOK_MS } from './constants.ts';
import { registerLinkMetrics } from './metrics.ts';
import type { BandwidthConfig } from './options.ts';
import { Spare } from './spare.ts';

/** One budget for each way bytes travel; undefined: as fast as it goes. */
export type Budgets = {
  peersUp: RateBudget | undefined;
  peersDown: RateBudget | undefined;
  source: RateBudget | undefined;
  prefetch: RateBudget | undefined;
};

/** What the kernel tells of the link. */
export type CardReader = {
  card(): Promise<LinkCard | undefined>;
  traffic(name: string): Promise<{ sent: number; received: number } | undefined>;
};

const KERNEL: CardReader = { card: () => linkCard(), traffic: (name) => cardTraffic(name) };

/**
 * The budgets of this node: parts of the link that is configured, else of the network card, and
 * these may grow while nobody else uses it. Of a link that is not known there are none.
 */
export class LinkBudgets implements Disposable {
  readonly budgets: Budgets;
  readonly #card: LinkCard | undefined;
  readonly #reader: CardReader;
  readonly #spares: { spare: Spare; way: 'sent' | 'received' }[] = [];
  readonly #timer: NodeJS.Timeout | undefined;

  private constructor(config: BandwidthConfig, card: LinkCard | undefined, reader: CardReader) {
    this.#card = card;
    this.#reader = reader;
    const link = config.link ?? card?.bytesPerSecond;
    const budget = (share: number, way: 'sent' | 'received'): RateBudget | undefined => {
      if (link === undefined || (config.link === undefined && share === 1)) return undefined;
      const part = link * share;
      const made = new RateBudget({ bytesPerSecond: part });
      if (config.link === undefined) {
        this.#spares.push({ spare: new Spare({ link, part }, { budget: made }), way });
      }
      return made;
    };
    this.budgets = {
      peersUp: budget(config.peersUp, 'sent'),
      peersDown: budget(config.peersDown, 'received'),
      source: budget(config.source, 'received'),
      prefetch: budget(config.prefetch, 'received'),
    };
    if (this.#spares.length > 0) {
      this.#timer = setInterval(() => void this.look(), LINK_LOOK_MS);
      this.#timer.unref();
    }
  }

  /** Learns of the link, says in the log what is known of it, and shows it in the metrics. */
  static async open(
    config: BandwidthConfig,
    modules: { metrics: MetricsRegistry; logger: Logger; reader?: CardReader },
  ): Promise<LinkBudgets> {
    const { metrics, logger, reader = KERNEL } = modules;
    const card = await reader.card();
    const own = new LinkBudgets(config, card, reader);
    const bytesPerSecond = config.link ?? card?.bytesPerSecond;
    registerLinkMetrics(metrics, { bytesPerSecond, budgets: own.budgets });
    const { peersUp, peersDown, source, prefetch } = config;
    const fields = { bytesPerSecond, card: card?.name, peersUp, peersDown, source, prefetch };
    if (bytesPerSecond === undefined) {
      logger.info(fields, 'speed of the link unknown, nothing is bounded; see bandwidth.link');
    } else logger.info(fields, 'link of this node');
    return own;
  }

  /** Looks at what others take of the card, when a budget was used since. */
  async look(nowMs: number = performance.now()): Promise<void> {
    if (this.#card === undefined || !this.#spares.some(({ spare }) => spare.isUsed)) return;
    const traffic = await this.#reader.traffic(this.#card.name);
    if (traffic === undefined) return;
    for (const { spare, way } of this.#spares) spare.look(traffic[way], nowMs);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
