/** A touch becomes a click so long after the finger has left at the latest, ms. */
const CLICK_WITHIN_MS = 350;

/** The longest that answers wait for the end of a press, which some browsers do not send, ms. */
const MOST_MS = 30_000;

let pressed: Promise<void> | undefined;
let end = () => {};
let timer: number | undefined;

/**
 * Resolves once nothing is pressed. What comes from the daemon waits for it: a button that an answer moves between
 * press and release would not get the click, or its neighbour would.
 */
export function released(): Promise<void> | undefined {
  return pressed;
}

export function startPress(): void {
  const on = <Name extends keyof WindowEventMap>(
    name: Name,
    listener: (event: WindowEventMap[Name]) => void,
  ) => window.addEventListener(name, listener, { capture: true, passive: true });
  on('pointerdown', () => {
    pressed ??= new Promise((resolve) => (end = resolve));
    releaseIn(MOST_MS);
  });
  on('pointerup', () => releaseIn(CLICK_WITHIN_MS));
  // Once its listeners have done what it asks for.
  on('click', () => releaseIn(0));
  // No click comes where the browser scrolls, drags or shows a menu.
  on('pointercancel', release);
  on('contextmenu', release);
  on('keydown', ({ repeat }) => repeat || release());
  // Some browsers send no release where options are shown. A text field changes as another thing is pressed.
  on('change', ({ target }) => (target as Element).localName === 'select' && releaseIn(0));
  on('blur', ({ target }) => target === window && release());
  on('pointermove', ({ buttons }) => buttons === 0 && release());
}

function releaseIn(ms: number): void {
  window.clearTimeout(timer);
  timer = window.setTimeout(release, ms);
}

function release(): void {
  window.clearTimeout(timer);
  pressed = undefined;
  end();
}
