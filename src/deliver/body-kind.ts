/** One form in which a webhook can be told of an event. */
export interface BodyKind {
  readonly contentType: string;
  /**
   * Makes the body of an event's JSON text. A function of nothing else, so that every attempt sends
   * the same bytes.
   */
  render(eventText: string): string;
}
