// Command plot draws the figures of qemu-tests/storm: seconds until the last node
// is served, over the number of nodes.
//
//	go run . storm.json storm.svg
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: plot FIGURES.json DRAWING.svg")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

// figures are what is drawn of the file that storm writes.
type figures struct {
	When       string
	Recordings []struct {
		Server, Tree string
		Down         float64 `json:"bytes_down"`
	}
	Runs []struct {
		Server, Tree string
		Faster       float64
		Nodes, Lost  int
		Last         float64 `json:"last_s"`
	}
}

func run(input, output string) error {
	b, err := os.ReadFile(input)
	if err != nil {
		return err
	}
	var f figures
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("%s: %w", input, err)
	}
	p := plot.New()
	p.Title.Text = "Seconds until the last node is served by NFSv3 (" + f.When + ")"
	p.X.Label.Text = "nodes that begin at one moment"
	p.Y.Label.Text = "seconds"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.X.Min, p.X.Max, p.Y.Min = 1, 1000, 1
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())

	lines := map[string]plotter.XYs{}
	for _, r := range f.Runs {
		if r.Lost > 0 {
			continue // Some nodes were dropped: there is no last one.
		}
		name := r.Server + ", " + r.Tree + " tree"
		if r.Faster != 1 {
			name += fmt.Sprintf(", nodes %g times faster", r.Faster)
		}
		lines[name] = append(lines[name], plotter.XY{X: float64(r.Nodes), Y: r.Last})
	}
	names := make([]string, 0, len(lines))
	for name := range lines {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		points := lines[name]
		slices.SortFunc(points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		line.Color, dots.Color = plotutil.Color(i), plotutil.Color(i)
		line.Width, dots.Shape = vg.Points(2), draw.CircleGlyph{}
		p.Add(line, dots)
		p.Legend.Add(name, line, dots)
	}
	if len(f.Recordings) > 0 {
		if err := addLinks(p, f.Recordings[0].Down); err != nil {
			return err
		}
	}
	return p.Save(8*vg.Inch, 5*vg.Inch, output)
}

// addLinks draws the least time in which a link can carry what the nodes read:
// computed, 1,448 bytes of 1,538 on the wire are NFS.
func addLinks(p *plot.Plot, bytes float64) error {
	for i, gigabits := range []float64{1, 10} {
		second := gigabits * 1e9 * 1448 / 1538 / 8
		line, err := plotter.NewLine(plotter.XYs{{X: second / bytes, Y: 1}, {X: 1000, Y: 1000 * bytes / second}})
		if err != nil {
			return err
		}
		line.Dashes = plotutil.Dashes(i + 1)
		p.Add(line)
		p.Legend.Add(fmt.Sprintf("computed: a link of %g Gb/s", gigabits), line)
	}
	return nil
}
