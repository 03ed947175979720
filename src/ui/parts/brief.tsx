import type { ComponentChildren } from 'preact';

interface BriefProps {
  name: ComponentChildren;
  /** The whole name, which may not have room. */
  title: string;
  /** Where the name leads to. */
  href?: string | undefined;
  /** Beside the name, at the end of its line: an age or a figure. */
  aside: ComponentChildren;
  /** The second line. */
  children: ComponentChildren;
}

/** A row of a list on a narrow screen: its name, and below it what else is known. */
export function Brief({ name, title, href, aside, children }: BriefProps) {
  return (
    <div class="brief">
      {href === undefined ? (
        <span class="brief-name cut" title={title}>
          {name}
        </span>
      ) : (
        <a class="brief-name cut" href={href} title={title}>
          {name}
        </a>
      )}
      <span class="brief-aside">{aside}</span>
      <div class="brief-more">{children}</div>
    </div>
  );
}
