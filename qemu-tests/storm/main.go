// Command storm measures what many nodes that boot at one moment ask of an
// NFS server. It records the calls of one whole boot of Debian by NFSv3 and plays
// them to the same server from many connections, with the pauses of the boot that
// was recorded. NFSv3 keeps no state: nothing but the numbers of the calls differs
// from what real nodes would send.
//
//	make storm
//	go run ./qemu-tests/storm --nodes 1,10 --servers ganesha --output /tmp/storm.json
//
// The server and the program that plays the nodes share this machine's processors;
// the processor time of each is told apart.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
)

func main() { qemutests.RunCommand("storm", storm) }

// options are what the command line says.
type options struct {
	servers, trees []string
	nodes          []int
	faster         []float64
	threads, calls int
	output         string
	limit          time.Duration
}

// Results are what the file of --output has; tools/plot draws it.
type results struct {
	When       string         `json:"when"`
	Processors int            `json:"processors"`
	Files      files          `json:"files"`
	Recordings []recordedBoot `json:"recordings"`
	Runs       []run          `json:"runs"`
}

// A recordedBoot is what one boot asked of a server.
type recordedBoot struct {
	Server string `json:"server"`
	Tree   string `json:"tree"`
	// Node is the node's own clock when systemd had started all; Seconds the time
	// from the first call to the last reply by that clock.
	Node    float64        `json:"node_s"`
	Seconds float64        `json:"seconds"`
	Calls   map[string]int `json:"calls"`
	Total   int            `json:"total"`
	Up      int64          `json:"bytes_up"`
	Down    int64          `json:"bytes_down"`
	// Clock is the node's seconds in one of this machine's.
	Clock float64 `json:"clock"`
}

func parseOptions() (o options, err error) {
	servers := flag.String("servers", "ganesha,nfsd", "`servers` to ask: ganesha, nfsd")
	trees := flag.String("trees", "plain,version", "`trees` to boot: plain, version")
	nodes := flag.String("nodes", "1,10,100,200,1000", "`numbers` of nodes that begin at one moment")
	faster := flag.String("faster", "1", "`times` that the nodes' processors are faster than the emulated one")
	flag.IntVar(&o.threads, "threads", 0, "`number` of nfsd's threads; 0: 4")
	flag.IntVar(&o.calls, "calls", 0, "`number` of calls of the boot to play, to see how many connections a server keeps; 0: all")
	flag.StringVar(&o.output, "output", "", "`file` for the figures, as JSON")
	flag.DurationVar(&o.limit, "limit", 20*time.Minute, "`time` after which one run is given up")
	flag.Parse()
	o.servers, o.trees = strings.Split(*servers, ","), strings.Split(*trees, ",")
	if o.threads != 0 && !slices.Contains(o.servers, "nfsd") {
		return o, fmt.Errorf("--threads is for nfsd, which --servers %s does not name: leave one of them out", *servers)
	}
	for text := range strings.SplitSeq(*nodes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 5000 {
			return o, fmt.Errorf("--nodes %q: want numbers from 1 to 5000", *nodes)
		}
		o.nodes = append(o.nodes, n)
	}
	for text := range strings.SplitSeq(*faster, ",") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f <= 0 {
			return o, fmt.Errorf("--faster %q: want numbers greater than 0", *faster)
		}
		o.faster = append(o.faster, f)
	}
	return o, nil
}

func storm(ctx context.Context) error {
	o, err := parseOptions()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("network namespaces, mmdebstrap and NFS need root: sudo make storm")
	}
	if err := openFiles(8192); err != nil {
		return err
	}
	all := results{When: time.Now().UTC().Format(time.DateOnly), Processors: runtime.NumCPU()}
	for _, server := range o.servers {
		if err := askServer(ctx, o, server, &all); err != nil {
			return fmt.Errorf("%s: %w", server, err)
		}
	}
	printTables(os.Stdout, all)
	return save(o.output, all)
}

// askServer records and replays with one kind of server.
func askServer(ctx context.Context, o options, server string, all *results) error {
	lab, err := qemutests.Open(ctx, qemutests.LabOptions{})
	if err != nil {
		return err
	}
	defer lab.Close()
	if err := lab.Reserve(ctx, 1); err != nil {
		return err
	}
	s, err := startServer(ctx, lab, server, o)
	if err != nil {
		return err
	}
	all.Files = s.files
	for _, tree := range o.trees {
		root, ok := s.roots[tree]
		if !ok {
			continue // nfsd serves the plain tree only.
		}
		fmt.Fprintf(os.Stderr, "storm: recording a boot of the %s tree from %s\n", tree, server)
		boot, recording, err := recordBoot(ctx, lab, s, tree, root)
		if err != nil {
			return fmt.Errorf("%s tree: %w", tree, err)
		}
		all.Recordings = append(all.Recordings, boot)
		if o.calls > 0 {
			recording.Calls = recording.Calls[:min(o.calls, len(recording.Calls))]
		}
		for _, faster := range o.faster {
			for _, n := range o.nodes {
				bounded, cancel := context.WithTimeout(ctx, o.limit)
				r, err := replay(bounded, lab, s.target, recording, n, boot.Clock/faster)
				cancel()
				if err != nil && ctx.Err() != nil {
					return err
				}
				if err != nil {
					fmt.Fprintf(os.Stderr, "storm: %d nodes: %v\n", n, err)
					break // More nodes take longer still.
				}
				r.Tree, r.Faster = tree, faster
				fmt.Fprintf(os.Stderr, "storm: %+v\n", r)
				all.Runs = append(all.Runs, r)
				if err := save(o.output, *all); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// save writes the figures so far.
func save(file string, all results) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
