import type { Airport } from './data-set.js';

export interface Place {
  readonly latitude: number;
  readonly longitude: number;
}

export interface NearAirport {
  readonly iata: string;
  readonly name: string;
  readonly km: number;
}

const EARTH_RADIUS_KM = 6371.0088;

/**
 * The airports nearest to a place, by great-circle distance.
 * @throws RangeError when the place is not on Earth
 */
export function nearestAirports(
  place: Place,
  airports: readonly Airport[],
  count: number,
): NearAirport[] {
  const { latitude, longitude } = place;
  if (!(Math.abs(latitude) <= 90) || !(Math.abs(longitude) <= 180)) {
    throw new RangeError(`latitude ${latitude}, longitude ${longitude} is not a place on Earth`);
  }
  const best: { airport: Airport; km: number }[] = [];
  for (const airport of airports) {
    const km = distanceKm(place, airport);
    if (best.length === count && km >= (best[count - 1]?.km ?? 0)) continue;
    const rank = best.findIndex((other) => km < other.km);
    best.splice(rank < 0 ? best.length : rank, 0, { airport, km });
    best.length = Math.min(best.length, count);
  }
  return best.map(({ airport: { iata, name }, km }) => ({
    iata,
    name,
    km: Math.round(km * 10) / 10,
  }));
}

/** Great-circle distance by the haversine formula. */
export function distanceKm(from: Place, to: Place): number {
  const north = radians(to.latitude - from.latitude);
  const east = radians(to.longitude - from.longitude);
  const a =
    Math.sin(north / 2) ** 2 +
    Math.cos(radians(from.latitude)) * Math.cos(radians(to.latitude)) * Math.sin(east / 2) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(a)));
}

function radians(degrees: number): number {
  return (degrees * Math.PI) / 180;
}
