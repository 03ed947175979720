import type { ComponentChildren } from 'preact';

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
