//! Which word was meant by one that is misspelt. Words in, a word out; no I/O.

/// The word among `known` that `word` was probably meant to be, whatever its case; none when none is near. Near are two letters
/// at most, and fewer than one in three.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    known
        .into_iter()
        .map(|known| (distance(&lower, &known.to_ascii_lowercase()), known))
        .min()
        .filter(|(distance, known)| *distance <= 2 && *distance * 3 < known.len())
        .map(|(_, known)| known)
}

/// How many letters to add, take away, change or swap with their neighbour make one word another (optimal string
/// alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(a != b))
                .min(rows[i][j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}
