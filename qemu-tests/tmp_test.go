//go:build qemu
package qemutests
import ("testing";"context";"time";"fmt";"os";"strings")
func TestTmpDHCP(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	for i := range 4 {
	t.Run(fmt.Sprint(i), func(t *testing.T){
	lab := NewLab(t, LabOptions{})
	tree, _ := Tree(ctx, "bookworm")
	kernel, _, _ := Kernel(tree)
	initrd, _, err := PeerInitrd(ctx, tree)
	lab.StartNFS(ctx, NFSOptions{Exports: []Export{{Path: tree}}})
	lab.StartDHCP(ctx, DHCPOptions{})
	_, path, err := lab.Capture(ctx, "arp or port 67 or port 68")
	if err != nil { t.Fatal(err) }
	t0 := time.Now()
	g, err := lab.Boot(ctx, GuestOptions{Kernel: kernel, Initrd: initrd, Cmdline: PeerWords(tree)+" init="+AgentInit})
	if err != nil { t.Fatal(err) }
	if err := g.WaitAgent(ctx); err != nil { t.Fatal(err) }
	t.Log(time.Since(t0), t0.Unix())
	lines, err := lab.ReadCapture(ctx, path)
	t.Log(err, "\n"+strings.Join(lines, "\n"))
	c := g.Console()
	t.Log(c[strings.Index(c, "Begin: Waiting"):])
	lab.SaveLogs("/tmp/logs"); _ = os.Args
	})
	}
}
