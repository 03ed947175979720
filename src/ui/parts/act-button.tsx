import type { ComponentChildren } from 'preact';
import { useRef } from 'preact/hooks';

interface ActButtonProps {
  class?: string;
  disabled?: boolean;
  title?: string;
  onAct: () => Promise<unknown>;
  children: ComponentChildren;
}

/**
 * A button that does something once: not again before that is done, and not by the second click of a double click, which
 * may meet what the first has made of it, such as Resume of Pause.
 */
export function ActButton({ onAct, ...shown }: ActButtonProps) {
  const isBusy = useRef(false);
  const click = async ({ detail }: MouseEvent) => {
    if (isBusy.current || detail > 1) return;
    isBusy.current = true;
    await onAct().finally(() => (isBusy.current = false));
  };
  return <button type="button" {...shown} onClick={(event) => void click(event)} />;
}
