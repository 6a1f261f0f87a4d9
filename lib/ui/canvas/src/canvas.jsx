// The drawing of a workflow: React Flow in a component of Streamlit's second kind.
// Python owns the definition. It sends {version, graph, status, kinds, palette, editable, chooses}; this file sends
// back the graph with `base`, the version that it was drawn on, so that an old drawing never overwrites a newer one.
import React, {useCallback, useEffect, useRef, useState} from "react";
import {createRoot} from "react-dom/client";
import {
  Background, Controls, Handle, MiniMap, Position, ReactFlow, ReactFlowProvider, applyEdgeChanges, applyNodeChanges,
  useReactFlow, useUpdateNodeInternals,
} from "@xyflow/react";
import dagre from "@dagrejs/dagre";

const CROWDED = 20; // nodes, from which a map of the whole helps
const MAP = {width: 140, height: 90};
const SIGNS = {running: "●", waiting: "◷", done: "✓", failed: "✕", cancelled: "■", unknown: "◌"};
const edgeId = (source, port, target) => `${source}:${port || ""}>${target}`;
const portName = port => port || "out";

const Step = React.memo(({id, data, selected}) => {
  const ports = data.ports || [];
  const update = useUpdateNodeInternals();
  useEffect(() => update(id), [ports.join()]);
  const classes = ["wf-node", selected && "wf-sel", data.kind === "note" && "wf-note", data.problem && "wf-problem",
    data.status && `wf-${data.status}`].filter(Boolean).join(" ");
  const label = `${data.label || id}, ${data.kind}${data.status ? `, ${data.status}` : ""}`;
  return <div className={classes} title={data.problem || undefined} aria-label={label}>
    {data.kind !== "input" && data.kind !== "note" && <Handle type="target" position={Position.Left} />}
    <b>{data.label || id}</b>
    <small>{data.kind}{data.status ? ` ${SIGNS[data.status] || ""} ${data.status}` : ""}
      {data.ms != null ? ` ${data.ms} ms` : ""}{data.problem ? " ⚠" : ""}</small>
    {ports.length > 1 && <div className="wf-ports">{ports.map(port => <span key={port}>{portName(port)}</span>)}</div>}
    {ports.map((port, place) => <Handle key={port} id={portName(port)} type="source" position={Position.Right}
      className={port === "error" ? "wf-error" : ""}
      style={ports.length > 1 ? {top: `calc(100% - ${(ports.length - place) * 16 - 3}px)`} : undefined}
      aria-label={`${id} ${portName(port)}`} />)}
  </div>;
});
const TYPES = {step: Step};

const toNodes = (graph, status) => graph.nodes.map(node => ({
  id: node.id, type: "step", position: {x: node.x || 0, y: node.y || 0},
  data: {kind: node.kind, label: node.label, ports: node.ports, ...(status?.[node.id] || {})}}));
const toEdges = graph => graph.edges.map(edge => makeEdge(edge.from, edge.port || "", edge.to));
const makeEdge = (source, port, target) => ({
  id: edgeId(source, port, target), source, target, sourceHandle: portName(port), label: port || undefined});
const toGraph = (nodes, edges) => ({
  nodes: nodes.map(node => ({id: node.id, kind: node.data.kind, label: node.data.label || "",
    like: node.data.like || "", x: Math.round(node.position.x), y: Math.round(node.position.y)})),
  edges: edges.map(edge => ({from: edge.source, to: edge.target, port: edge.sourceHandle === "out" ? "" : edge.sourceHandle || ""}))});

function Editor({bridge}) {
  const [, setTick] = useState(0);
  bridge.poke = () => setTick(tick => tick + 1);
  const {data} = bridge;
  const [nodes, setNodes] = useState([]);
  const [edges, setEdges] = useState([]);
  const [said, say] = useState("");
  const now = useRef(null);
  now.current = {nodes, edges};
  const past = useRef([]);
  const future = useRef([]);
  const seen = useRef(null);
  const link = useRef(null);
  const copied = useRef(null);
  const box = useRef(null);
  const flow = useReactFlow();
  const editable = data.editable !== false;

  useEffect(() => {
    if (seen.current === data.version) return;
    const isFirst = seen.current === null || data.fit !== seen.fit;
    seen.current = data.version;
    seen.fit = data.fit;
    const chosen = new Set(now.current.nodes.filter(node => node.selected).map(node => node.id));
    // A node that has been measured stays so: without its size it would be hidden until it is measured again.
    const sizes = new Map(now.current.nodes.map(node => [node.id, node.measured]));
    setNodes(toNodes(data.graph, data.status).map(node => (
      {...node, selected: chosen.has(node.id), ...(sizes.get(node.id) && {measured: sizes.get(node.id)})})));
    setEdges(toEdges(data.graph));
    if (isFirst) {
      past.current = [];
      future.current = [];
      setTimeout(() => flow.fitView({padding: 0.06, maxZoom: 1.2}), 60);
    }
  });
  const marks = JSON.stringify(data.status || {});
  useEffect(() => setNodes(all => all.map(node => {
    const mark = data.status?.[node.id] || {};
    const {status, ms, problem} = node.data;
    if (status === mark.status && ms === mark.ms && problem === mark.problem) return node;
    return {...node, data: {...node.data, status: undefined, ms: undefined, problem: undefined, ...mark}};
  })), [marks]);

  const send = useCallback((ns, es) => {
    bridge.seq = (bridge.seq || 0) + 1;
    bridge.setStateValue("graph", {...toGraph(ns, es), base: seen.current, seq: bridge.seq});
  }, []);
  const keep = useCallback(() => {
    past.current.push({...now.current});
    if (past.current.length > 100) past.current.shift();
    future.current = [];
  }, []);
  const commit = useCallback((ns, es, text) => { keep(); setNodes(ns); setEdges(es); say(text || ""); send(ns, es); }, []);
  const move = (from, to, text) => {
    const state = from.current.pop();
    if (!state) return;
    to.current.push({...now.current});
    setNodes(state.nodes); setEdges(state.edges); say(text); send(state.nodes, state.edges);
  };
  const undo = () => move(past, future, "Undone");
  const redo = () => move(future, past, "Redone");
  const freeId = (kind, taken) => { let n = 1; while (taken.has(`${kind}${n}`)) n++; return `${kind}${n}`; };
  const unselect = ns => ns.map(node => node.selected ? {...node, selected: false} : node);

  const add = (kind, position) => {
    if (!editable) return;
    const id = freeId(kind, new Set([...(data.taken || []), ...now.current.nodes.map(node => node.id)]));
    const node = {id, type: "step", position, selected: true, data: {kind, label: "", ports: data.kinds[kind]}};
    commit([...unselect(now.current.nodes), node], now.current.edges, `${id} added`);
    bridge.setStateValue("selected", id);
  };
  const remove = () => {
    if (!editable) return;
    const gone = new Set(now.current.nodes.filter(node => node.selected).map(node => node.id));
    const left = now.current.edges.filter(edge => !edge.selected && !gone.has(edge.source) && !gone.has(edge.target));
    if (!gone.size && left.length === now.current.edges.length) return;
    box.current.focus({preventScroll: true}); // the focused node goes away; keys must still reach us
    commit(now.current.nodes.filter(node => !gone.has(node.id)), left, "Removed");
  };
  const copy = () => {
    const chosen = now.current.nodes.filter(node => node.selected);
    if (!chosen.length) return;
    const ids = new Set(chosen.map(node => node.id));
    copied.current = {nodes: chosen, edges: now.current.edges.filter(e => ids.has(e.source) && ids.has(e.target))};
    say(`${chosen.length} copied`);
  };
  const paste = () => {
    if (!copied.current || !editable) return;
    const taken = new Set([...(data.taken || []), ...now.current.nodes.map(node => node.id)]);
    const names = {};
    const fresh = copied.current.nodes.filter(node => node.data.kind !== "input").map(node => {
      const id = freeId(node.data.kind, taken);
      taken.add(id);
      names[node.id] = id;
      return {...node, id, selected: true, position: {x: node.position.x + 40, y: node.position.y + 40},
        data: {...node.data, like: node.data.like || node.id, status: undefined, problem: undefined}};
    });
    const joined = copied.current.edges.filter(e => names[e.source] && names[e.target])
      .map(e => makeEdge(names[e.source], e.sourceHandle === "out" ? "" : e.sourceHandle, names[e.target]));
    commit([...unselect(now.current.nodes), ...fresh], [...now.current.edges, ...joined], `${fresh.length} pasted`);
  };
  const layout = () => {
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({rankdir: "LR", nodesep: 30, ranksep: 70});
    graph.setDefaultEdgeLabel(() => ({}));
    now.current.nodes.forEach(node => graph.setNode(node.id, {width: node.measured?.width || 150, height: node.measured?.height || 56}));
    now.current.edges.forEach(edge => graph.setEdge(edge.source, edge.target));
    dagre.layout(graph);
    commit(now.current.nodes.map(node => {
      const place = graph.node(node.id);
      return {...node, position: {x: place.x - place.width / 2, y: place.y - place.height / 2}};
    }), now.current.edges, "Arranged");
    setTimeout(() => flow.fitView({padding: 0.06, maxZoom: 1.2}), 30);
  };
  const reaches = (from, to) => {
    const out = {};
    now.current.edges.forEach(edge => (out[edge.source] ||= []).push(edge.target));
    const waiting = [from], visited = new Set();
    while (waiting.length) {
      const id = waiting.pop();
      if (id === to) return true;
      if (!visited.has(id)) { visited.add(id); waiting.push(...(out[id] || [])); }
    }
    return false;
  };
  const fits = useCallback(c => {
    const target = now.current.nodes.find(node => node.id === c.target);
    return c.source !== c.target && target && !["input", "note"].includes(target.data.kind) && !reaches(c.target, c.source)
      && !now.current.edges.some(e => e.source === c.source && e.target === c.target && e.sourceHandle === c.sourceHandle);
  }, []);
  const connect = c => {
    if (!editable) return;
    if (!fits(c)) { say("That edge would close a circle, or is there already"); return; }
    const port = c.sourceHandle === "out" ? "" : c.sourceHandle || "";
    commit(now.current.nodes, [...now.current.edges, makeEdge(c.source, port, c.target)], `${c.source} to ${c.target}`);
  };
  const connectByKey = () => {
    const node = now.current.nodes.find(one => one.selected);
    if (!node) { say("Select a step first"); return; }
    if (!link.current) {
      const ports = node.data.ports || [];
      if (!ports.length) { say(`${node.id} leads nowhere`); return; }
      link.current = {id: node.id, ports, place: 0};
      say(`From ${node.id} ${portName(ports[0])}: p for another port, choose the target, then c`);
    } else {
      const {id, ports, place} = link.current;
      link.current = null;
      connect({source: id, target: node.id, sourceHandle: portName(ports[place]), targetHandle: null});
    }
  };
  const nextPort = () => {
    if (!link.current) return;
    link.current.place = (link.current.place + 1) % link.current.ports.length;
    say(`From ${link.current.id} ${portName(link.current.ports[link.current.place])}`);
  };
  const key = event => {
    const command = event.ctrlKey || event.metaKey;
    const letter = event.key.toLowerCase();
    if (event.key.length === 1 && !command) event.stopPropagation(); // Streamlit owns c and r on the document
    if (command && letter === "z") { event.preventDefault(); event.shiftKey ? redo() : undo(); }
    else if (command && letter === "y") { event.preventDefault(); redo(); }
    else if (command && letter === "c") { event.stopPropagation(); copy(); }
    else if (command && letter === "v") { event.stopPropagation(); paste(); }
    else if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); remove(); }
    else if (letter === "c" && !command) connectByKey();
    else if (letter === "p" && !command) nextPort();
    else if (event.key === "Escape") { link.current = null; say(""); }
    else if (event.key.startsWith("Arrow")) {
      clearTimeout(bridge.timer);
      bridge.timer = setTimeout(() => send(now.current.nodes, now.current.edges), 300);
    }
  };
  const centre = () => {
    const area = box.current.querySelector(".react-flow").getBoundingClientRect();
    const count = now.current.nodes.length;
    return flow.screenToFlowPosition({x: area.x + area.width / 2 + (count % 5) * 18, y: area.y + area.height / 2 + (count % 5) * 18});
  };
  const choose = useCallback(({nodes: chosen}) => {
    const id = chosen.length === 1 ? chosen[0].id : "";
    if (bridge.data.chooses === false) return; // nobody asks, and each word of ours would run the page again
    if (bridge.selected !== id) { bridge.selected = id; bridge.setStateValue("selected", id); }
  }, []);
  const takeNodes = useCallback(changes => setNodes(all => applyNodeChanges(changes, all)), []);
  const takeEdges = useCallback(changes => setEdges(all => applyEdgeChanges(changes, all)), []);
  const endDrag = useCallback(() => setTimeout(() => send(now.current.nodes, now.current.edges), 0), []);
  const drop = event => {
    event.preventDefault();
    const kind = event.dataTransfer.getData("text/kind");
    if (kind) add(kind, flow.screenToFlowPosition({x: event.clientX, y: event.clientY}));
  };
  return <div className="wf" tabIndex={-1} onKeyDown={key} ref={box}>
    <div className="wf-bar" role="toolbar" aria-label="Steps">
      {editable && data.palette.map(kind => <button key={kind} draggable
        onDragStart={event => event.dataTransfer.setData("text/kind", kind)} onClick={() => add(kind, centre())}>{kind}</button>)}
      <span className="wf-gap" />
      {editable && <><button onClick={undo}>Undo</button><button onClick={redo}>Redo</button></>}
      {editable && <button onClick={layout}>Arrange</button>}
    </div>
    <div className="wf-area" onDragOver={event => { event.preventDefault(); event.dataTransfer.dropEffect = "move"; }} onDrop={drop}>
      <ReactFlow nodes={nodes} edges={edges} nodeTypes={TYPES} isValidConnection={fits} deleteKeyCode={null} minZoom={0.05}
        nodesDraggable={editable} nodesConnectable={editable} nodesFocusable edgesFocusable
        onNodesChange={takeNodes} onEdgesChange={takeEdges} onConnect={connect} onSelectionChange={choose}
        onNodeDragStart={keep} onNodeDragStop={endDrag}>
        <Background /><Controls showInteractive={false} orientation="horizontal" />{nodes.length > CROWDED && <MiniMap pannable zoomable style={MAP} />}
      </ReactFlow>
    </div>
    <div className="wf-say" aria-live="polite">{said}</div>
  </div>;
}

const ROOTS = new WeakMap();
export default function ({parentElement, data, setStateValue, setTriggerValue}) {
  let mounted = ROOTS.get(parentElement);
  if (!mounted) {
    const host = parentElement.querySelector("#workflow-canvas");
    mounted = {bridge: {data, setStateValue, setTriggerValue, poke: () => {}}, root: createRoot(host)};
    ROOTS.set(parentElement, mounted);
    mounted.root.render(<ReactFlowProvider><Editor bridge={mounted.bridge} /></ReactFlowProvider>);
  }
  Object.assign(mounted.bridge, {data, setStateValue, setTriggerValue});
  mounted.bridge.poke();
  return () => { mounted.root.unmount(); ROOTS.delete(parentElement); };
}
