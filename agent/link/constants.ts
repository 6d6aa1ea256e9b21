/** How often it is looked at what others take of the link while a budget is being used. */
export const LINK_LOOK_MS = 500;
/** Part of the link that a budget may grow to while nobody else needs it. */
export const BORROW_MAX = 0.97;
/** How much of the rate of others a new look changes. */
export const OTHERS_SMOOTHING = 0.5;
