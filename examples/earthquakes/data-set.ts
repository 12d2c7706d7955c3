// What the United States Geological Survey published for the first week of February 2018, and the
// airports of the United States: both come with the npm package `vega-datasets`.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parse } from 'csv-parse/sync';

/** One record of the data set. */
export interface Quake {
  readonly id: string;
  readonly place: string;
  readonly magnitude: number;
  /** `earthquake`, `explosion` or `quarry blast`. */
  readonly kind: string;
  readonly happenedAt: Date;
  readonly latitude: number;
  readonly longitude: number;
}

export interface Airport {
  readonly iata: string;
  readonly name: string;
  readonly city: string;
  readonly latitude: number;
  readonly longitude: number;
}

interface Feature {
  readonly id: string;
  readonly properties: { place: string; mag: number; type: string; time: number };
  readonly geometry: { coordinates: [longitude: number, latitude: number, depthKm: number] };
}

const FOLDER = path.join(
  path.dirname(createRequire(import.meta.url).resolve('vega-datasets')),
  '../data',
);

export function readQuakes(): Quake[] {
  const { features } = JSON.parse(read('earthquakes.json')) as { features: Feature[] };
  return features.map(({ id, properties, geometry }) => ({
    id,
    place: properties.place,
    magnitude: properties.mag,
    kind: properties.type,
    happenedAt: new Date(properties.time),
    latitude: geometry.coordinates[1],
    longitude: geometry.coordinates[0],
  }));
}

export function readAirports(): Airport[] {
  const rows: Record<string, string>[] = parse(read('airports.csv'), { columns: true });
  return rows.map(({ iata = '', name = '', city = '', latitude, longitude }) => ({
    iata,
    name,
    city,
    latitude: Number(latitude),
    longitude: Number(longitude),
  }));
}

function read(file: string): string {
  return readFileSync(path.join(FOLDER, file), 'utf8');
}
