import { options } from 'preact';

/** What a user presses. */
const PRESSED = 'a, button, tr';

/** A press that moves further drags or selects, pixels. */
const MOST_PX = 6;

/** A touch becomes a click so long after the finger has left, ms. */
const CLICK_WITHIN_MS = 50;

/** A longer press holds back nothing, ms. */
const MOST_MS = 5_000;

let press: { x: number; y: number } | null = null;
let timer: number | undefined;
let draw: (() => void) | null = null;

/**
 * Draws nothing anew between press and click: a button that an answer moves in between would not get the click, or its
 * neighbour would.
 */
export function startPress(): void {
  options.debounceRendering = (render) => {
    if (press === null) queueMicrotask(render);
    else draw = render;
  };
  const on = <Name extends keyof WindowEventMap>(
    name: Name,
    listener: (event: WindowEventMap[Name]) => void,
  ) => window.addEventListener(name, listener, { capture: true, passive: true });
  on('pointerdown', ({ button, target, clientX: x, clientY: y }) => {
    if (button !== 0 || !(target instanceof Element) || target.closest(PRESSED) === null) return;
    press = { x, y };
    releaseIn(MOST_MS);
  });
  on('pointermove', ({ clientX: x, clientY: y }) => {
    if (press !== null && Math.hypot(x - press.x, y - press.y) > MOST_PX) release();
  });
  on('pointerup', () => press !== null && releaseIn(CLICK_WITHIN_MS));
  on('pointercancel', release);
  // Once the screen has done what the click asks for.
  on('click', () => press !== null && releaseIn(0));
}

function releaseIn(ms: number): void {
  window.clearTimeout(timer);
  timer = window.setTimeout(release, ms);
}

function release(): void {
  window.clearTimeout(timer);
  press = null;
  draw?.();
  draw = null;
}
