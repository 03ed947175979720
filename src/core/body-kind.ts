/** The body formats of a webhook; `deliver/body.ts` builds them. */
export const BODY_KIND_NAMES = ['standard', 'cloudevents', 'slack'] as const;

export type BodyKindName = (typeof BODY_KIND_NAMES)[number];
