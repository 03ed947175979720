import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { messageOf } from '../api/request.ts';
import { isKiosk } from '../app/router.ts';
import { TrailLinks } from './trail.tsx';

/** A screen's title, a sentence about it, and what can be done on it. */
export function Header({
  title,
  about,
  children,
}: {
  title: ComponentChildren;
  about?: ComponentChildren;
  children?: ComponentChildren;
}) {
  return (
    <header class="screen-header">
      <TrailLinks />
      <div class="screen-title">
        <h1>{title}</h1>
        {about !== undefined && <p class="about">{about}</p>}
      </div>
      {children !== undefined && <div class="actions">{children}</div>}
    </header>
  );
}

/** Part of a screen, with its heading. */
export function Section({
  title,
  aside,
  children,
}: {
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <section class="section" aria-label={title}>
      <div class="section-head">
        <h2>{title}</h2>
        {aside !== undefined && <div class="aside">{aside}</div>}
      </div>
      {children}
    </section>
  );
}

/** What stands where nothing is: why, and what to do. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children !== undefined && <div class="empty-text">{children}</div>}
    </div>
  );
}

/** Why something cannot be shown, and what is shown in its place. */
export function Trouble({
  error,
  what,
  retry,
}: {
  error: unknown;
  what: string;
  retry?: () => void;
}) {
  if (error === null || error === undefined) return null;
  return (
    <div class="trouble" role="status">
      <span>
        Cannot load {what}: {messageOf(error)}
      </span>
      {retry !== undefined && (
        <button type="button" class="small" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Loading() {
  return (
    <p class="loading" role="status">
      Loading…
    </p>
  );
}

/** A share of 100 as a bar and a number. */
export function Progress({ value, tone }: { value: number | null; tone: string }) {
  if (value === null) return <span class="faint">–</span>;
  const shown = Math.max(0, Math.min(100, value));
  return (
    <span class="progress">
      <span class="progress-track" aria-hidden="true">
        <span class={`progress-bar tone-${tone}`} style={{ width: `${shown}%` }} />
      </span>
      <span class="num">{value}&thinsp;%</span>
    </span>
  );
}

export function Copy({ text, label }: { text: string; label: string }) {
  const [isDone, setDone] = useState(false);
  if (isKiosk.value) return null;
  const copy = async () => {
    if (await copyText(text)) {
      setDone(true);
      window.setTimeout(() => setDone(false), 1_500);
    }
  };
  return (
    <button type="button" class="quiet" onClick={() => void copy()} title={text}>
      {isDone ? 'Copied' : label}
    </button>
  );
}

async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** Over plain http, browsers give pages no clipboard. */
function copyBySelection(text: string): boolean {
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'off-screen';
  document.body.append(field);
  field.select();
  const isDone = document.execCommand('copy');
  field.remove();
  return isDone;
}

/** A command to type, with a button that copies it. */
export function Command({ text }: { text: string }) {
  return (
    <div class="command">
      <code>{text}</code>
      <Copy text={text} label="Copy" />
    </div>
  );
}

/** A modal dialog; Escape and a click beside it close it. */
export function Dialog({
  title,
  onClose,
  children,
  className = '',
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  className?: string;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  // Before it can be seen: a quick Escape would leave the screen instead.
  useLayoutEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={className}
      aria-label={title}
      onCancel={leaveField}
      onClose={onClose}
      onClick={({ target }) => {
        if (target === dialog.current) dialog.current?.close();
      }}
    >
      <div class="dialog-body">{children}</div>
    </dialog>
  );
}

/** A dialog that closes has the focus until the next frame: a quick Enter would send its form. */
function leaveField(): void {
  (document.activeElement as HTMLElement | null)?.blur();
}

/** A number with its name; it links to the list that it counts. */
export function Figure({
  name,
  href,
  tone = 'plain',
  children,
}: {
  name: string;
  href?: string | undefined;
  tone?: string;
  children: ComponentChildren;
}) {
  const inner = (
    <>
      <span class="figure-name">{name}</span>
      <span class={`figure-value num tone-${tone}`}>{children}</span>
    </>
  );
  return href === undefined ? (
    <div class="figure">{inner}</div>
  ) : (
    <a class="figure" href={href}>
      {inner}
    </a>
  );
}

/** What there is to know of one thing at a glance. */
export function Facts({ children }: { children: ComponentChildren }) {
  return <dl class="facts">{children}</dl>;
}

export function Fact({
  name,
  className,
  children,
}: {
  name: string;
  className?: string;
  children: ComponentChildren;
}) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={className}>{children}</dd>
    </div>
  );
}
