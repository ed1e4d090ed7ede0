package sidusnode

import (
	"fmt"
	"strconv"
	"strings"
)

// A record is what processes and boots of this program tell each other: lines of
// a key, a blank and a value in quotes. A key may come several times.
type record []pair

type pair struct{ key, value string }

func (r *record) add(key, value string) { *r = append(*r, pair{key, value}) }

// get is the last value of a key, empty where there is none.
func (r record) get(key string) (value string) {
	for _, p := range r {
		if p.key == key {
			value = p.value
		}
	}
	return value
}

// all are the values of a key.
func (r record) all(key string) (values []string) {
	for _, p := range r {
		if p.key == key {
			values = append(values, p.value)
		}
	}
	return values
}

// number is a value that is a number, 0 where it is none.
func (r record) number(key string) int64 {
	n, err := strconv.ParseInt(r.get(key), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (r record) String() string {
	var b strings.Builder
	for _, p := range r {
		b.WriteString(line(p.key, p.value))
	}
	return b.String()
}

// line is a pair as text.
func line(key, value string) string { return key + " " + strconv.Quote(value) + "\n" }

// parseRecord reads what String wrote. A last line without an end is left out: who
// wrote it was interrupted.
func parseRecord(text string) (r record, err error) {
	for l := range strings.Lines(text) {
		if !strings.HasSuffix(l, "\n") {
			break
		}
		key, quoted, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		value, err := strconv.Unquote(quoted)
		if err != nil || key == "" {
			return r, fmt.Errorf("a line is damaged: %q", l)
		}
		r.add(key, value)
	}
	return r, nil
}
