import { useLayoutEffect, useState } from 'preact/hooks';

/** A stretch of a chart, in pixels from its left edge. */
export interface Stretch {
  left: number;
  right: number;
}

/** Shorter than this it is a click, pixels. */
const LEAST_PX = 6;

/** A stretch of an element that is chosen by dragging over it; Escape gives it up. */
export interface Brush {
  /** What is being chosen; null while nothing is. */
  stretch: Stretch | null;
  /** To be put on the element. */
  handlers: {
    onPointerDown: (event: PointerEvent) => void;
    onPointerMove: (event: PointerEvent) => void;
    onPointerUp: () => void;
    onPointerCancel: () => void;
    onClickCapture: (event: MouseEvent) => void;
    onDragStart: (event: DragEvent) => void;
  };
}

/** @param boundsOf the horizontal bounds of the chart in the window; null where there is none */
export function useBrush(
  boundsOf: () => Pick<DOMRect, 'left' | 'right'> | null,
  onChosen: (stretch: Stretch) => void,
): Brush {
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const [justEnded, setJustEnded] = useState(false);
  const stretch = drag === null ? null : stretchOf(drag);
  useEscape(drag !== null, () => setDrag(null));
  const placeOf = ({ clientX }: PointerEvent) => {
    const bounds = boundsOf();
    if (bounds === null) return null;
    return Math.max(0, Math.min(bounds.right - bounds.left, clientX - bounds.left));
  };
  return {
    stretch,
    handlers: {
      onPointerDown(event) {
        setJustEnded(false);
        const bounds = boundsOf();
        // A finger scrolls the page.
        if (event.button !== 0 || event.pointerType === 'touch' || bounds === null) return;
        if (event.clientX < bounds.left || event.clientX > bounds.right) return;
        const at = placeOf(event);
        if (at !== null) setDrag({ from: at, to: at });
      },
      onPointerMove(event) {
        const to = placeOf(event);
        if (drag === null || to === null) return;
        // It was let go elsewhere.
        if (event.buttons === 0) return setDrag(null);
        const element = event.currentTarget as Element;
        const isFar = Math.abs(to - drag.from) >= LEAST_PX;
        if (isFar && !element.hasPointerCapture(event.pointerId)) {
          element.setPointerCapture(event.pointerId);
        }
        setDrag({ from: drag.from, to });
      },
      onPointerUp() {
        setDrag(null);
        if (stretch === null) return;
        setJustEnded(true);
        onChosen(stretch);
      },
      onPointerCancel: () => setDrag(null),
      // What is below the pointer where a stretch ends is not meant.
      onClickCapture(event) {
        if (!justEnded) return;
        setJustEnded(false);
        event.preventDefault();
        event.stopPropagation();
      },
      onDragStart: (event) => event.preventDefault(),
    },
  };
}

function stretchOf({ from, to }: { from: number; to: number }): Stretch | null {
  if (Math.abs(to - from) < LEAST_PX) return null;
  return { left: Math.min(from, to), right: Math.max(from, to) };
}

/** Escape alone, before any other that listens. */
function useEscape(isOn: boolean, onEscape: () => void): void {
  // At once: an Escape before effects run would leave the screen.
  useLayoutEffect(() => {
    if (!isOn) return undefined;
    const pressed = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      onEscape();
    };
    window.addEventListener('keydown', pressed, { capture: true });
    return () => window.removeEventListener('keydown', pressed, { capture: true });
  }, [isOn]);
}
