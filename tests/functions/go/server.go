// Listens at the address it is given. Answers a request, once all of it has come, with the instance it ran in;
// echoes the frames of a WebSocket, as long as they are small.
package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Sec-WebSocket-Key") == "" {
			io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, os.Getenv("FC_INSTANCE_ID"))
		} else if conn, buffered, err := w.(http.Hijacker).Hijack(); err == nil {
			defer conn.Close()
			sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
				"Sec-WebSocket-Accept: ", base64.StdEncoding.EncodeToString(sum[:]), "\r\n\r\n")
			echo(conn, buffered.Reader)
		}
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}

func echo(conn io.Writer, frames *bufio.Reader) {
	head := make([]byte, 6) // opcode, length, and the key that a client's payload is masked with
	for head[0]&15 != 8 {   // up to the Close frame
		if _, err := io.ReadFull(frames, head); err != nil {
			return
		}
		payload := make([]byte, head[1]&127)
		if _, err := io.ReadFull(frames, payload); err != nil {
			return
		}
		for i := range payload {
			payload[i] ^= head[2+i%4]
		}
		conn.Write(append([]byte{head[0], byte(len(payload))}, payload...))
	}
}
