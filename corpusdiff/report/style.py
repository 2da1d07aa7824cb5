"""How the page looks, and the little that it does by itself."""

from corpusdiff.report.figures import AFTER, BEFORE

STYLE = f"""
:root {{ color-scheme: light dark; --ink: #1f2933; --soft: #52606d; --line: #cbd2d9; --field: #f5f7fa; --page: #fff;
  --before: {BEFORE}; --after: {AFTER}; --bad: #b42318; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e4e7eb; --soft: #9aa5b1; --line: #3e4c59; --field: #1f2933;
  --page: #14191f; --bad: #f97066; }} }}
* {{ box-sizing: border-box; }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem;
  color: var(--ink); background: var(--page); }}
h1 {{ font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.25rem; margin: 2.5rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }}
h3 {{ font-size: 1rem; margin: 0; overflow-wrap: anywhere; }}
p {{ margin: .3rem 0 .8rem; }} .soft {{ color: var(--soft); }} .bad {{ color: var(--bad); }}
.tiles {{ display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; padding: 0; list-style: none; }}
.tiles li {{ background: var(--field); border-radius: .4rem; padding: .6rem 1rem; min-width: 7.5rem; }}
.tiles b {{ display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .3rem 1.2rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
td.text {{ min-width: 13rem; overflow-wrap: anywhere; }}
.key::before {{ content: ""; display: inline-block; width: .8em; height: .8em; margin: 0 .4em 0 .8em; }}
.key.before::before {{ background: var(--before); }} .key.after::before {{ background: var(--after); }}
.plots {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.2rem; }}
.plots > div, .pair > div {{ min-width: 0; }}
.track {{ border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem; margin: 1rem 0; }}
.tag {{ background: var(--field); border-radius: 1rem; padding: .1rem .6rem; font-size: .85rem; font-weight: 400; }}
.pair {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: .5rem 1rem; }}
audio {{ width: 100%; height: 2.5rem; display: block; margin: .2rem 0 .4rem; }}
pre {{ background: var(--field); border-radius: .4rem; padding: 1rem; overflow: auto; max-height: 32rem;
  font-size: .85rem; }}
code {{ overflow-wrap: anywhere; font-size: .9em; }}
"""

#: A player that starts stops the others, and goes on where the other of its pair was: so two signals are compared.
SCRIPT = """
document.addEventListener("play", event => {
  const started = event.target;
  for (const other of document.querySelectorAll("audio")) {
    if (other === started || other.paused) continue;
    other.pause();
    if (other.closest(".track") === started.closest(".track")) started.currentTime = other.currentTime;
  }
}, true);
"""
