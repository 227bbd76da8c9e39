"""The page of a worker, for people. It holds nothing itself: it asks `/status` every second.

It asks for the token, where there is one, and keeps it for as long as the tab is open.
"""

__all__ = ["PAGE"]

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>pointstream</title>
<meta name="viewport" content="width=device-width">
<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin-bottom:1.5rem}
td,th{text-align:right;padding:.2rem .6rem;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}
.bad{color:#a40000;font-weight:600}h2{font-size:1.1rem;margin:0}</style>
<h1>pointstream</h1><p id="head">&hellip;</p>
<form id="ask" hidden><label>Token <input id="token" type="password" autocomplete="off"></label>
<button>Show</button></form><div id="all"></div>
<p>JSON: /status, /accounts/MEMBER. Prometheus: /metrics. Probes: /healthz, /readyz</p>
<script>
const byId = id => document.getElementById(id);
byId('ask').onsubmit = e => {
  e.preventDefault(); sessionStorage.token = byId('token').value; byId('ask').hidden = true; show();
};
function make(tag, text) { const t = document.createElement(tag); t.textContent = text; return t; }
function table(title, names, rows) {
  const t = document.createElement('table'), head = document.createElement('tr');
  head.append(...names.map(n => make('th', n.replaceAll('_', ' ')))); t.append(head);
  for (const row of rows) {
    const r = document.createElement('tr');
    r.append(...names.map(n => make('td', row[n] ?? ''))); t.append(r);
  }
  return rows.length ? [make('h2', title), t] : [];
}
async function show() {
  let answer;
  try {
    const headers = sessionStorage.token ? {Authorization: 'Bearer ' + sessionStorage.token} : {};
    answer = await fetch('/status', {headers});
  } catch { byId('head').textContent = 'This worker does not answer.'; return; }
  if (answer.status === 401) {
    byId('head').textContent = sessionStorage.token ? 'That is not the token.' : '';
    delete sessionStorage.token; byId('ask').hidden = false; byId('all').replaceChildren(); return;
  }
  const s = await answer.json();
  byId('head').textContent = s.app_id + (s.ready ? ' is ready' : ' is restoring')
    + ', version ' + s.version + ', assignment ' + s.assignment;
  byId('head').className = s.ready ? '' : 'bad';
  byId('all').replaceChildren(
    ...table('Partitions', ['partition', 'phase', 'lag_records', 'lag_seconds', 'processed',
      'waiting', 'restore_remaining'], s.partitions),
    ...table('Input topics', ['topic', 'lag_records', 'lag_seconds'], s.topics),
    ...table('Points owed', ['wallet', 'points'], s.liability),
    ...table('Rules in force', ['rule_set', 'version', 'hash'], s.rule_sets),
    ...table('Newest flags', ['detector', 'state', 'action', 'entity_kind', 'observed',
      'threshold', 'occurred_at', 'flag_id'], s.flags),
    ...table('Newest dead letters', ['code', 'topic', 'partition', 'offset', 'recorded_at'],
      s.dead_letters),
    ...table('Faults that ended a process', ['fault', 'times'], s.faults));
}
show(); setInterval(() => byId('ask').hidden && show(), 1000);
</script>"""
