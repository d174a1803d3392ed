// Sound in the browser: record samples as they are, write WAV, find a length, draw a waveform.

export class Recording {
  // Nothing may clean the voice up: what it would take away is what models listen to.
  static async start(level) {
    const constraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: constraints });
    const context = new AudioContext();
    await context.audioWorklet.addModule("recorder.js");
    const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    const recording = new Recording(stream, context);
    node.port.onmessage = ({ data }) => {
      recording.blocks.push(data);
      recording.samples += data.length;
      level(recording.samples / context.sampleRate, data);
    };
    context.createMediaStreamSource(stream).connect(node);
    return recording;
  }

  constructor(stream, context) {
    Object.assign(this, { stream, context, blocks: [], samples: 0 });
  }

  async stop() {
    this.stream.getTracks().forEach((track) => track.stop());
    const rate = this.context.sampleRate;
    await this.context.close();
    const samples = new Float32Array(this.samples);
    let place = 0;
    for (const block of this.blocks) {
      samples.set(block, place);
      place += block.length;
    }
    return new File([wav(samples, rate)], "recording.wav", { type: "audio/wav" });
  }
}

// A WAV of one channel and 16 bits.
export function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const word = (place, text) => [...text].forEach((c, i) => view.setUint8(place + i, c.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  word(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, x))), true));
  return view.buffer;
}

// What the browser decodes of a file: {samples, rate, seconds}, or null for a format it cannot read.
export async function decoded(file) {
  const context = new OfflineAudioContext(1, 1, 48000);
  try {
    const buffer = await context.decodeAudioData(await file.arrayBuffer());
    const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
    const samples = channels.length === 1 ? channels[0]
      : channels[0].map((_, i) => channels.reduce((sum, one) => sum + one[i], 0) / channels.length);
    return { samples, rate: buffer.sampleRate, seconds: buffer.duration };
  } catch {
    return null;
  }
}

export function drawWave(canvas, samples) {
  const scale = window.devicePixelRatio || 1;
  const width = (canvas.width = Math.max(1, canvas.clientWidth * scale));
  const height = (canvas.height = 72 * scale);
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--main");
  const step = 3 * scale, bars = Math.floor(width / step), each = samples.length / bars;
  const peaks = Array.from({ length: bars }, (_, i) => {
    let peak = 0;
    const last = Math.min(samples.length, Math.ceil((i + 1) * each));
    for (let k = Math.floor(i * each); k < last; k++) peak = Math.max(peak, Math.abs(samples[k]));
    return peak;
  });
  const top = Math.max(0.05, ...peaks);
  peaks.forEach((peak, i) => {
    const tall = Math.max(scale, (peak / top) * height * 0.9);
    context.fillRect(i * step, (height - tall) / 2, 2 * scale, tall);
  });
}
